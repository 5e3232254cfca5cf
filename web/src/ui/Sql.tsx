import { useMemo } from "react";
import { broken, oneLine, tokens } from "./sql";
import styles from "./ui.module.css";

/** Highlighted SQL on one line, cut by the width of its place; the whole text is on hover. */
export function SqlLine({ text, limit = 400 }: { text: string; limit?: number }) {
  const line = useMemo(() => oneLine(text.slice(0, limit * 2)).slice(0, limit), [text, limit]);
  return <code className={styles["sqlLine"]}><Tokens text={line} /></code>;
}

/** Highlighted SQL as a block. */
export function SqlBlock({ text }: { text: string }) {
  const shown = useMemo(() => broken(text), [text]);
  return <pre className={styles["sqlBlock"]}><code><Tokens text={shown} /></code></pre>;
}

function Tokens({ text }: { text: string }) {
  const list = useMemo(() => tokens(text), [text]);
  // Tokens of a text have no identity besides their place.
  // oxlint-disable-next-line react/no-array-index-key
  return list.map((token, i) => (token.kind === "plain" || token.kind === "ident" ? token.text : <span key={i} data-sql={token.kind}>{token.text}</span>));
}

// A tokenizer for showing SQL: it colours, it never parses. Text that it does not know stays plain,
// and all tokens together are always the text itself.

export type Kind = "keyword" | "function" | "string" | "number" | "comment" | "param" | "ident" | "plain";

export interface Token {
  kind: Kind;
  text: string;
}

const keywords = new Set(
  `abort add all alter analyse analyze and any array as asc asymmetric at before begin between both by call cascade case cast check checkpoint close cluster collate column
  comment commit concurrently constraint copy create cross cube current current_catalog current_date current_role current_time current_timestamp current_user cursor database
  deallocate declare default deferrable delete desc discard distinct do drop each else end escape except execute exists explain extension false fetch filter first following for force foreign
  from full function generated grant group grouping having if ilike in index initially inner insert intersect interval into is isnull join key language last lateral leading left like limit
  listen load local localtime localtimestamp lock match materialized merge move natural next no not nothing notify notnull nowait null nulls of off offset on only option or order outer over
  overlaps owner partition placing policy preceding prepare primary privileges procedure range recursive references refresh reindex release rename replace reset returning revoke right role
  rollback rollup row rows savepoint schema select sequence session session_user set sets share show similar skip some start symmetric system table tablesample tablespace temp temporary then ties
  to trailing transaction trigger true truncate type unbounded union unique unlisten unlogged update user using vacuum values variadic verbose view when where window with within without work`.split(/\s+/),
);

const patterns: [Kind, RegExp][] = [
  ["comment", /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y],
  ["string", /[eEbBxXnN]?'(?:[^']|'')*(?:'|$)/y],
  ["string", /(\$[A-Za-z_]*\$)[\s\S]*?(?:\1|$)/y],
  ["param", /\$\d+/y],
  ["ident", /"(?:[^"]|"")*(?:"|$)/y],
  ["number", /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y],
  ["ident", /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y],
  ["plain", /\s+|[^\w\s]/y],
];

export function tokens(sql: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < sql.length) {
    let token: Token = { kind: "plain", text: sql.charAt(at) };
    for (const [kind, pattern] of patterns) {
      pattern.lastIndex = at;
      const match = pattern.exec(sql);
      if (match !== null && match[0] !== "") {
        token = { kind, text: match[0] };
        break;
      }
    }
    at += token.text.length;
    if (token.kind === "ident" && !token.text.startsWith('"')) {
      if (keywords.has(token.text.toLowerCase())) token.kind = "keyword";
      else if (sql.charAt(at) === "(") token.kind = "function";
    }
    const last = found[found.length - 1];
    if (last !== undefined && last.kind === token.kind && token.kind === "plain") last.text += token.text;
    else found.push(token);
  }
  return found;
}

const breakers = /^(select|from|where|group|order|having|limit|union|except|intersect|values|set|returning|on|window|offset)$/i;

/** One line: runs of blanks and line breaks outside of strings become one blank. */
export function oneLine(sql: string): string {
  let line = "";
  for (const token of tokens(sql)) {
    const text = token.kind === "plain" ? token.text.replace(/\s+/g, " ") : token.kind === "comment" ? " " : token.text;
    line += line.endsWith(" ") ? text.replace(/^ /, "") : text;
  }
  return line.trim();
}

/** Breaks a statement that came on one line before its clauses; one that already has lines is left as its author wrote it. */
export function broken(sql: string): string {
  if (sql.includes("\n") || sql.length < 60) return sql;
  let depth = 0;
  let previous = "";
  return tokens(sql)
    .map((token, i) => {
      for (const char of token.kind === "plain" ? token.text : "") depth += char === "(" ? 1 : char === ")" ? -1 : 0;
      const word = token.text.toLowerCase();
      const joins = /^(join|left|right|inner|cross|full)$/.test(word) && !/^(left|right|inner|cross|full|outer)$/.test(previous);
      const starts = token.kind === "keyword" && i > 0 && depth === 0 && ((breakers.test(word) && !(word === "from" && previous === "delete")) || joins);
      const wraps = token.kind === "keyword" && depth === 0 && (word === "and" || word === "or");
      if (token.text.trim() !== "") previous = word;
      if (starts && word !== "on") return `\n${token.text}`;
      return wraps ? `\n  ${token.text}` : token.text;
    })
    .join("")
    .replace(/ +\n/g, "\n");
}

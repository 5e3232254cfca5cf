import { Button } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import { IconCopy, IconOk } from "./icons";
import { SqlBlock, SqlLine } from "./Sql";
import styles from "./ui.module.css";

export function Copy({ text, label = "Copy", what, compact = false }: { text: string; label?: string; what?: string; compact?: boolean }) {
  const clipboard = useClipboard({ timeout: 1500 });
  return (
    <Button
      size="compact-sm"
      variant={compact ? "subtle" : "default"}
      leftSection={clipboard.copied ? <IconOk /> : <IconCopy />}
      aria-label={what === undefined ? label : `${label} ${what}`}
      onClick={(event) => {
        event.stopPropagation();
        clipboard.copy(text);
      }}
    >
      {clipboard.copied ? "Copied" : label}
    </Button>
  );
}

/** One line leaves comments out, and those of a remedy tell what to do besides. */
const isBlock = (text: string) => text.includes("\n") || text.includes("--");

/** What mends something, within a sentence when it fits on a line; of several lines none is dropped. */
export function Remedy({ text }: { text: string }) {
  if (isBlock(text)) return <CopyBlock text={text} />;
  return <><SqlLine text={text} /> <Copy compact text={text} what={text} /></>;
}

/** SQL or a command to run, with a button that copies exactly this. */
export function CopyBlock({ text, plain = false }: { text: string; plain?: boolean }) {
  return (
    <div className={styles["copyBlock"]}>
      {plain ? <code className="mono">{text}</code> : isBlock(text) ? <SqlBlock text={text} /> : <SqlLine text={text} />}
      <Copy text={text} what={text} />
    </div>
  );
}

import type { ReactNode } from "react";
import { IconDown, IconNoData, IconOk, IconSpin, IconWarning } from "./icons";
import styles from "./ui.module.css";

export type Tone = "ok" | "warning" | "critical" | "nodata" | "busy";

const icons: Record<Tone, () => ReactNode> = { ok: IconOk, warning: IconWarning, critical: IconDown, nodata: IconNoData, busy: IconSpin };

/** A state is always an icon and a word; colour only repeats them. */
export function Status({ tone, children }: { tone: Tone; children: ReactNode }) {
  const Icon = icons[tone];
  return (
    <span className={styles["status"]} data-tone={tone}>
      <Icon />
      <span>{children}</span>
    </span>
  );
}

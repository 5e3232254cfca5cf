import { Button, Loader } from "@mantine/core";
import type { ReactNode } from "react";
import { ApiProblem } from "~/api/problem";
import { useTime } from "~/time/TimeProvider";
import { moment } from "~/time/zone";
import { Status, type Tone } from "./Status";
import styles from "./ui.module.css";

interface Props {
  kind: "loading" | "empty" | "error" | "forbidden";
  /** What is so. */
  title: string;
  /** Why, and what to do. */
  children?: ReactNode;
  onRetry?: () => void;
}

const tones: Record<Props["kind"], Tone> = { loading: "busy", empty: "nodata", error: "critical", forbidden: "warning" };

/** The one place that tells a reader that there is nothing to see yet, or why not. */
export function State({ kind, title, children, onRetry }: Props) {
  return (
    <div className={styles["state"]} role={kind === "error" ? "alert" : "status"} aria-busy={kind === "loading"}>
      {kind === "loading" ? <span className={styles["status"]}><Loader size={14} type="oval" color="var(--dim)" /> <span className="dim">{title}</span></span> : <Status tone={tones[kind]}>{title}</Status>}
      {children !== undefined && <div className="dim">{children}</div>}
      {onRetry !== undefined && <Button size="compact-sm" variant="default" onClick={onRetry}>Try again</Button>}
    </div>
  );
}

/** What a failed query says, in words. */
export function Failed({ what, error, onRetry }: { what: string; error: unknown; onRetry?: () => void }) {
  const text = error instanceof Error ? error.message : String(error);
  const title = error instanceof ApiProblem && error.status === 404 ? `${what}: not found` : `${what} could not be read`;
  return (
    <State kind="error" title={title} onRetry={onRetry}>
      {text}
    </State>
  );
}

/** Above old numbers that could not be renewed. */
export function Stale({ error, answered, onRetry }: { error: unknown; answered: number | null; onRetry: () => void }) {
  const { now, skew, zone } = useTime();
  return (
    <div className={styles["stale"]} role="alert">
      <Status tone="warning">not renewed{answered === null ? "" : ` since ${moment(answered + skew, zone, now)}`}: {error instanceof Error ? error.message : String(error)}; what stands here is older</Status>
      <Button size="compact-xs" variant="default" onClick={onRetry}>Try again</Button>
    </div>
  );
}

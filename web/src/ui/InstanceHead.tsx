import { Link } from "@tanstack/react-router";
import type { Instance } from "~/api/types";
import { useTime } from "~/time/TimeProvider";
import { age } from "~/format/duration";
import { moment } from "~/time/zone";
import { CopyBlock } from "./Copy";
import { advice, limits, roleOf, stateOf, stateText, stateTone, versionOf } from "./instance";
import { Status } from "./Status";
import styles from "./head.module.css";

/** Name, state and tabs of an instance, and under them what is missing and the SQL that mends it. */
export function InstanceHead({ instance, tab }: { instance: Instance; tab: "overview" | "queries" }) {
  const { now, zone } = useTime();
  const state = stateOf(instance);
  const since = instance.status_since;
  const troubles = advice(limits(instance));
  const role = roleOf(instance);
  return (
    <>
      <div className={styles["head"]}>
        <h1>{instance.name}</h1>
        <Status tone={stateTone[state]}>{stateText[state]}</Status>
        <span className="dim">
          {instance.version === "" ? "not known yet" : `PostgreSQL ${versionOf(instance)}${role === null ? "" : `, ${role}`}`}
          {(state === "down" || state === "unknown" || state === "connecting") && `; ${instance.reason ?? "no answer"}${since == null ? "" : ` since ${moment(since, zone, now)}, ${age(now - since)}`}`}
        </span>
        <nav className={styles["tabs"]} aria-label={`Pages of ${instance.name}`}>
          <Link to="/instances/$id" params={{ id: instance.id }} data-on={tab === "overview" || undefined} aria-current={tab === "overview" ? "page" : undefined}>Overview</Link>
          <Link to="/instances/$id/queries" params={{ id: instance.id }} data-on={tab === "queries" || undefined} aria-current={tab === "queries" ? "page" : undefined}>Queries</Link>
        </nav>
      </div>
      {troubles.length > 0 && (
        <div className={styles["troubles"]}>
          {troubles.map((one) => (
            <div key={`${one.reason} ${one.remedy}`}>
              <Status tone="warning">{one.families.join(", ")}{one.databases.length > 0 ? ` in ${one.databases.join(", ")}` : ""}</Status>
              <span>{one.detail}</span>
              {one.remedy !== "" && <CopyBlock text={one.remedy} />}
            </div>
          ))}
        </div>
      )}
    </>
  );
}

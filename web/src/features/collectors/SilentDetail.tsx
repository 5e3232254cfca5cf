import { Link } from "@tanstack/react-router";
import type { Collector } from "~/api/types";
import { count } from "~/format/number";
import { moment, type Zone } from "~/time/zone";
import styles from "./collectors.module.css";

export function SilentDetail({ collector, now, zone }: { collector: Collector; now: number; zone: Zone }) {
  return (
    <span className={styles["silent"]}>
      {collector.last_push == null ? "it has never pushed" : <>no push since <b>{moment(collector.last_push, zone, now)}</b></>}. The process, its machine or the network is gone; its {count(collector.counts.missing)} ticks are <b>missing</b> and become
      stored if its spool arrives.{" "}
      {collector.instances.length > 0 && (
        <>
          {collector.instances.length === 1 ? "Its instance: " : "Its instances: "}
          {collector.instances.slice(0, 8).map((one, i) => <span key={one.id}>{i > 0 && ", "}<Link to="/instances/$id" params={{ id: one.id }}>{one.name}</Link></span>)}
          {collector.instances.length > 8 && ` and ${collector.instances.length - 8} more`}
        </>
      )}
    </span>
  );
}

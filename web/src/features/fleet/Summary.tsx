import { age } from "~/format/duration";
import { count, missing, percent, sig } from "~/format/number";
import { value } from "~/format/unit";
import { Status } from "~/ui/Status";
import { type Summary as Sums } from "./model";
import styles from "./fleet.module.css";

interface Props {
  summary: Sums;
  count: number;
  limited: number;
  now: number;
  span: number;
}

export function Summary({ summary, count: all, limited, now, span }: Props) {
  const { byState, counts } = summary;
  const up = byState.up + byState.limited;
  const oldest = summary.oldest[0];
  const others = summary.oldest[1];
  const lowest = summary.coverage[0];
  const next = summary.coverage[1];
  return (
    <section className={styles["summary"]} aria-label="Summary">
      <div>
        <h2>Instances, {all}</h2>
        <p className={styles["states"]}>
          <Status tone={up > 0 ? "ok" : "nodata"}>{up} up</Status>
          {byState.down > 0 && <Status tone="critical">{byState.down} down</Status>}
          {byState.unknown + byState.connecting > 0 && <Status tone="nodata">{byState.unknown + byState.connecting} unknown</Status>}
        </p>
        <p>{limited === 0 ? "no privilege or setting is missing" : `${limited} of the ${all} ${limited === 1 ? "sees" : "see"} less than it could`}</p>
      </div>
      <div>
        <h2>Collection success, {age(span)}</h2>
        <p>
          {summary.success !== null && summary.success < 0.999 ? <Status tone="warning"><b>{percent(summary.success, 2)} %</b></Status> : <b>{summary.success === null ? missing : `${percent(summary.success, 2)} %`}</b>}{" "}
          {count(counts.stored)} of {count(counts.planned - counts.pending)} ticks stored
        </p>
        <p>{count(counts.failed)} failed, {count(counts.skipped)} skipped, {count(counts.dropped)} dropped, {count(counts.missing)} missing; {count(counts.pending)} pending</p>
      </div>
      <div>
        <h2>Statement coverage, lowest</h2>
        <p><b>{lowest === undefined ? missing : `${percent(lowest.calls)} %`}</b> of calls</p>
        <p>{lowest === undefined ? "no instance has statements yet" : next === undefined ? lowest.name : `${lowest.name}, all others ≥ ${percent(next.calls)} %`}</p>
      </div>
      <div>
        <h2>Oldest data</h2>
        <p><b>{oldest === undefined ? missing : age(now - oldest.at)}</b> {oldest?.name}</p>
        <p>{others === undefined ? "" : `all others ≤ ${age(now - others.at)}`}</p>
      </div>
      <div>
        <h2>Active sessions, {summary.reporting} {summary.reporting === 1 ? "instance" : "instances"}</h2>
        <p><b>{sig(summary.active)}</b> of {count(summary.connected)} connected</p>
        <p>{sig(summary.xacts)} xacts/s, WAL {value(summary.wal, "bytes/s")}</p>
      </div>
    </section>
  );
}

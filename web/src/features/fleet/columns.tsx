import { Link } from "@tanstack/react-router";
import type { Instance } from "~/api/types";
import { Sparkline } from "~/chart/Sparkline";
import { count, exact, missing, percent, sig } from "~/format/number";
import { scaleFor } from "~/format/unit";
import { Bar } from "~/table/Bar";
import type { Col } from "~/table/DataTable";
import { roleOf, stateOf, stateText, stateTone, versionOf } from "~/ui/instance";
import { Status } from "~/ui/Status";
import { notStored, severityOf, type Summary } from "./model";
import styles from "./fleet.module.css";

/** `wal` is the largest value shown: a column has one unit. */
export function columns(wal: number, window: { from: number; to: number }): Col<Instance>[] {
  const walScale = scaleFor("bytes/s", wal);
  const hours = (window.to - window.from) / 3600;
  const span = hours >= 1 ? `${sig(hours).replace(/\.0+$/, "")} h` : `${Math.round(hours * 60)} min`;
  return [
    { id: "state", header: "State", sort: severityOf, cell: (one) => <Status tone={stateTone[stateOf(one)]}>{stateText[stateOf(one)]}</Status> },
    { id: "name", header: "Instance", sort: (one) => one.name, cell: (one) => <Link to="/instances/$id" params={{ id: one.id }} className={styles["name"]}>{one.name}</Link> },
    { id: "version", header: "Version", num: true, sort: (one) => versionOf(one) || null, cell: (one) => <span title={one.version}>{versionOf(one) || missing}</span> },
    { id: "role", header: "Role", sort: roleOf, cell: (one) => roleOf(one) ?? missing },
    {
      id: "connections", header: "Connections / max", num: true, sort: (one) => one.sessions, title: "Client sessions of max_connections; active ones in green",
      cell: (one) => (
        <span className={styles["pair"]}>
          {one.sessions != null && <Bar width={64} track max={one.max_connections ?? 0} parts={[{ value: one.active ?? 0, token: "wait-cpu" }, { value: one.sessions - (one.active ?? 0), token: "data-2" }]} />}
          <span className={styles["wide"]}>{count(one.sessions)} / {count(one.max_connections)}</span>
        </span>
      ),
    },
    {
      id: "active", header: `Active, mean and ${span}`, num: true, sort: (one) => one.active_mean, title: "Active sessions: the mean of the range, and their course",
      cell: (one) => (
        <span className={styles["pair"]} title={exact(one.active_mean)}>
          {sig(one.active_mean)}
          <Sparkline values={one.active_trend ?? []} token="wait-cpu" label={`active sessions of ${one.name}, mean ${sig(one.active_mean)}`} />
        </span>
      ),
    },
    { id: "xacts", header: "Xacts/s", num: true, sort: (one) => one.xacts_per_second, cell: (one) => <span title={exact(one.xacts_per_second)}>{sig(one.xacts_per_second)}</span> },
    { id: "hit", header: "Hit %", num: true, sort: (one) => one.hit_percent, cell: (one) => <span title={exact(one.hit_percent)}>{one.hit_percent == null ? missing : percent(one.hit_percent / 100)}</span> },
    { id: "wal", header: `WAL, ${walScale.label}`, num: true, sort: (one) => one.wal_bytes_per_second, cell: (one) => <span title={exact(one.wal_bytes_per_second)}>{one.wal_bytes_per_second == null ? missing : sig(one.wal_bytes_per_second / walScale.by)}</span> },
    { id: "cost", header: "Cost, % core", num: true, sort: (one) => one.cost_percent, title: "What watching costs this server, of one core", cell: (one) => <span title={exact(one.cost_percent)}>{sig(one.cost_percent)}</span> },
    {
      id: "gaps", header: `Gaps, ticks, ${span}`, num: true, sort: notStored, title: "Planned readings that are not stored, and when",
      cell: (one) => (
        <span className={styles["pair"]}>
          {count(notStored(one))}
          <GapStrip instance={one} />
        </span>
      ),
    },
    { id: "collector", header: "Collector", sort: (one) => one.collector, cell: (one) => <Link to="/collectors" className={styles["plain"]}>{one.collector ?? missing}</Link> },
  ];
}

/** 60 buckets of the range: where ticks are missing. The colour is that of the worst kind that the instance has. */
function GapStrip({ instance }: { instance: Instance }) {
  const trend = instance.gap_trend ?? [];
  const width = 72;
  const size = width / Math.max(1, trend.length);
  const top = Math.max(1, ...trend);
  const { failed, dropped, skipped, missing: lost } = instance.counts;
  const token = failed > 0 ? "cell-failed" : lost > 0 ? "cell-missing" : skipped > 0 ? "cell-skipped" : dropped > 0 ? "cell-dropped" : "cell-failed";
  return (
    <svg width={width} height={12} aria-hidden="true">
      <rect width={width} height={12} fill="var(--track)" />
      {trend.map((ticks, i) => {
        const height = ticks > 0 ? Math.max(4, (ticks / top) * 12) : 0;
        // A bucket of the strip is its place.
        // oxlint-disable-next-line react/no-array-index-key
        return ticks > 0 ? <rect key={i} x={i * size} y={12 - height} width={Math.max(1.2, size)} height={height} fill={`var(--${token})`} /> : null;
      })}
    </svg>
  );
}

export function pinnedRow(summary: Summary, wal: number, instances: number) {
  const scale = scaleFor("bytes/s", wal);
  const lost = summary.counts.failed + summary.counts.skipped + summary.counts.dropped + summary.counts.missing;
  return {
    key: "total",
    strong: true,
    cells: [
      null,
      `${summary.reporting} reporting`,
      null,
      null,
      `${count(summary.connected)} / ${count(summary.connectionsMax)}`,
      <span key="active" className={styles["pair"]} title="active now, all instances together">{sig(summary.active)}<span className={styles["trend"]}>now</span></span>,
      sig(summary.xacts),
      null,
      summary.wal === null ? missing : sig(summary.wal / scale.by),
      null,
      <span key="gaps" className={styles["pair"]}>{count(lost)}<span className={styles["trend"]}>all {instances}</span></span>,
      null,
    ],
  };
}

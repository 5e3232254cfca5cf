import type { UseQueryResult } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Event, Ledger } from "~/api/types";
import { count } from "~/format/number";
import { Bar } from "~/table/Bar";
import { moment, span, type Zone } from "~/time/zone";
import { IconDiamond, IconDown, IconNoData, IconWarning } from "~/ui/icons";
import { Failed, State } from "~/ui/State";
import styles from "./fleet.module.css";

const icons: Record<Event["kind"], { icon: React.ReactNode; tone: string }> = {
  setting: { icon: <IconDiamond />, tone: "text" },
  restart: { icon: <IconWarning />, tone: "warning" },
  incarnation: { icon: <IconWarning />, tone: "warning" },
  promotion: { icon: <IconWarning />, tone: "warning" },
  gap: { icon: <IconNoData />, tone: "nodata" },
  unobserved: { icon: <IconNoData />, tone: "nodata" },
  down: { icon: <IconDown />, tone: "critical" },
  collector: { icon: <IconNoData />, tone: "nodata" },
};

interface EventsProps {
  query: UseQueryResult<Event[]>;
  zone: Zone;
  window: { from: number; to: number };
  now: number;
}

export function Events({ query, zone, window, now }: EventsProps) {
  const rows = query.data?.slice(0, 12);
  return (
    <section className={`${styles["list"]} ${styles["events"]}`} aria-label="What happened">
      <table>
        <thead>
          <tr><th scope="col">Since ↓</th><th scope="col"><span className="hidden-text">Kind</span></th><th scope="col">Where</th><th scope="col">What happened, {span(window.from, window.to, zone, now)}</th><th scope="col">Effect on the data</th></tr>
        </thead>
        <tbody>
          {rows?.map((event) => (
            <tr key={`${event.time} ${event.instance} ${event.kind} ${event.what}`}>
              <td>{moment(event.time, zone, now)}</td>
              <td className={styles["icon"]} style={{ color: `var(--${icons[event.kind].tone})` }}>{icons[event.kind].icon}<span className="hidden-text">{event.kind}</span></td>
              <td>{event.instance === "" ? event.instance_name : <Link to="/instances/$id" params={{ id: event.instance }} className={styles["plain"]}>{event.instance_name}</Link>}</td>
              <td className={styles["what"]} title={event.what}>{event.what}{event.until == null ? "" : `, until ${moment(event.until, zone, now)}`}</td>
              <td className={styles["effect"]}>{event.effect}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows === undefined ? query.isError ? <Failed what="Events" error={query.error} onRetry={() => void query.refetch()} /> : <State kind="loading" title="Reading events" /> : rows.length === 0 && <p className={styles["quiet"]}>Nothing happened in this range: no gap, no restart, no setting changed.</p>}
      {query.data !== undefined && query.data.length > 12 && <p className={styles["quiet"]}>and {query.data.length - 12} more; each instance’s page has its own</p>}
    </section>
  );
}

export function Reasons({ query }: { query: UseQueryResult<Ledger> }) {
  const rows = query.data?.reasons?.toSorted((a, b) => b.ticks - a.ticks);
  const top = Math.max(0, ...(rows ?? []).map((row) => row.ticks));
  return (
    <section className={styles["list"]} aria-label="Ticks that are not stored, by reason">
      <table>
        <thead>
          <tr><th scope="col">Outcome</th><th scope="col">Reason</th><th scope="col" className="num">Ticks ↓</th><th scope="col" className={styles["barHead"]}><span className="hidden-text">Bar</span></th></tr>
        </thead>
        <tbody>
          {rows?.slice(0, 12).map((row) => (
            <tr key={`${row.outcome} ${row.reason}`}>
              <td><i className={styles["dot"]} style={{ background: `var(--cell-${row.outcome})` }} />{row.outcome}</td>
              <td>{row.reason || "–"}</td>
              <td className="num">{count(row.ticks)}</td>
              <td><Bar width={90} max={top} parts={[{ value: row.ticks, token: `cell-${row.outcome}` }]} /></td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows === undefined ? query.isError ? <Failed what="The ledger" error={query.error} onRetry={() => void query.refetch()} /> : <State kind="loading" title="Reading the ledger" /> : rows.length === 0 && <p className={styles["quiet"]}>Every planned reading is stored.</p>}
    </section>
  );
}

import { ActionIcon } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { eventsQuery, seriesQuery } from "~/api/queries";
import type { InstanceDetail, StatementSums } from "~/api/types";
import { useKept } from "~/api/useKept";
import { Chart } from "~/chart/Chart";
import { onGrid, type Point, sum, type Value } from "~/chart/grid";
import type { Loss } from "~/chart/gaps";
import { ms } from "~/format/duration";
import { count, exact, missing, percent, sig } from "~/format/number";
import { bytes } from "~/format/unit";
import { numbers, type Place } from "~/table/statements";
import { useTime, useTimeRange } from "~/time/TimeProvider";
import { isoSeconds, stepFor } from "~/time/range";
import { date } from "~/time/zone";
import { Copy } from "~/ui/Copy";
import { IconClose } from "~/ui/icons";
import { Pick } from "~/ui/Pick";
import { marksOf } from "~/ui/marks";
import { SqlBlock } from "~/ui/Sql";
import { Failed, State } from "~/ui/State";
import { perCall, samePlace, seriesWhere, sumsOf } from "./model";
import { statementQuery } from "./queries";
import styles from "./statements.module.css";

interface Props {
  instance: InstanceDetail;
  queryId: string;
  /** The database and user whose numbers these are; null for the sum over all. */
  place: Place | null;
  window: { from: number; to: number };
  onPlace: (place: Place | null) => void;
  onClose: () => void;
}

export function Detail({ instance, queryId, place, window, onPlace, onClose }: Props) {
  const { zone } = useTime();
  const { data: fresh, error, isError, refetch } = useQuery(statementQuery(instance.id, window, queryId));
  const data = useKept(fresh, queryId);
  const panel = useRef<HTMLElement | null>(null);
  const ready = data !== undefined;
  useEffect(() => {
    if (ready) panel.current?.scrollIntoView({ block: "nearest" });
  }, [ready]);
  const call = `GET /api/v1/instances/${instance.id}/series?family=statements&column=total_exec_time&fn=rate&${new URLSearchParams(seriesWhere(queryId, place)).toString()}&from=${isoSeconds(window.from)}&to=${isoSeconds(window.to)}`;
  return (
    <section ref={panel} className={styles["detail"]} aria-label={`Statement ${queryId}`}>
      <header>
        <h2>Statement</h2>
        <code className="mono">{queryId}</code>
        {data !== undefined && <Where items={data.items} place={place} onPlace={onPlace} />}
        {data?.first_seen != null && <span className="dim">first seen {date(data.first_seen, zone)}</span>}
        <span className={styles["fill"]} />
        <Copy text={queryId} label="Copy query id" />
        {data?.query != null && <Copy text={data.query} label="Copy SQL" />}
        <Copy text={call} label="Copy as API call" />
        <kbd className={styles["kbd"]}>Esc</kbd>
        <ActionIcon variant="subtle" color="gray" size={24} aria-label="Close the statement" onClick={onClose}><IconClose /></ActionIcon>
      </header>
      {data === undefined ? (
        isError ? <Failed what="The statement" error={error} onRetry={() => void refetch()} /> : <State kind="loading" title="Reading the statement" />
      ) : (
        <>
          <div className={styles["body"]}>
            {/* A region that scrolls has to be reachable by keyboard. */}
            <div className={styles["sql"]} tabIndex={0} role="region" aria-label="SQL">
              {data.query === null ? <State kind="empty" title="The text is not known yet">Texts are read when a statement is first seen, and then at most every five minutes.</State> : <SqlBlock text={data.query} />}
            </div>
            <Charts instance={instance} queryId={queryId} place={place} />
          </div>
          <Facts sums={sumsOf(data, place)} seconds={data.seconds ?? 0} />
        </>
      )}
    </section>
  );
}

const placeText = (place: Place) => `${place.database}, user ${place.user}`;

/** Whose numbers these are, and a way to the others and to the sum of all. */
function Where({ items, place, onPlace }: { items: readonly Place[]; place: Place | null; onPlace: (place: Place | null) => void }) {
  const known = place === null || items.some((item) => samePlace(item, place)) ? items : [...items, place];
  const only = known[0];
  if (known.length <= 1) return <span className="dim">{only === undefined ? "" : placeText(only)}</span>;
  return (
    <Pick
      label="Of"
      value={place === null ? "" : String(known.findIndex((item) => samePlace(item, place)))}
      options={[{ value: "", label: `all ${known.length} databases and users` }, ...known.map((item, i) => ({ value: String(i), label: placeText(item) }))]}
      onPick={(value) => onPlace(value === "" ? null : (known[Number(value)] ?? null))}
    />
  );
}

const columns = ["total_exec_time", "calls", "rows"] as const;

function Charts({ instance, queryId, place }: { instance: InstanceDetail; queryId: string; place: Place | null }) {
  const { from, to } = useTimeRange();
  // Half as wide as other charts: more buckets than that would be a comb of single calls.
  const step = stepFor(to - from, instance.interval ?? 60, 120);
  const window = { from: Math.floor(from / step) * step, to: Math.ceil(to / step) * step, step };
  const queries = useQueries({ queries: columns.map((column) => seriesQuery(instance.id, window, window.step, { family: "statements", column, fn: "delta", ...seriesWhere(queryId, place) })) });
  const events = useQuery(eventsQuery({ from: window.from, to: window.to }, instance.id));
  const marks = useMemo(() => marksOf(events.data ?? []), [events.data]);
  const failed = queries.find((query) => query.isError && query.data === undefined);
  const stamp = queries.map((query) => query.dataUpdatedAt).join(" ");
  const fresh = useMemo(() => {
    const grid = queries[0]?.data?.grid;
    if (grid === undefined || queries.some((query) => query.data?.grid.from !== grid.from || query.data.grid.step !== grid.step)) return undefined;
    const [time = [], calls = [], rows = []] = queries.map((query) => whole((query.data?.series ?? []).map((one) => onGrid(one.points as unknown as Point[], grid)), grid));
    const losses: Loss[] = (queries[0]?.data?.gaps ?? []).map((gap) => ({ from: gap.from, to: gap.to, outcome: gap.outcome, reason: gap.reason, ticks: gap.ticks }));
    return { grid, losses, time: time.map((value) => (value === null ? null : value / grid.step)), calls: calls.map((value) => (value === null ? null : value / grid.step)), mean: perCall(time, calls), rows: perCall(rows, calls), any: calls };
    // Answers change exactly when one of their times does.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [stamp]);
  // Another place is other numbers: they are not shown under its name while they are read.
  const view = useKept(fresh, JSON.stringify([queryId, place]));
  if (view === undefined && failed !== undefined) return <Failed what="The series" error={failed.error} onRetry={() => void failed.refetch()} />;
  if (view === undefined) return <State kind="loading" title="Reading the series" />;
  const shared = { grid: view.grid, marks, losses: view.losses, since: instance.first_seen ?? null, patience: 3 * Math.max(instance.interval ?? 60, view.grid.step), height: 136, meanOnly: true };
  const series = (key: string, values: Value[]) => [{ key, label: key, token: "data" as const, values }];
  return (
    <div className={styles["charts"]}>
      <Chart {...shared} title="Time" unit="ms/s" series={series("time", view.time)} />
      <Chart {...shared} markLabels={false} title="Calls" unit="/s" series={series("calls", view.calls)} />
      {/* Where nothing was called there is no mean: that is no gap of ours. */}
      <Chart {...shared} markLabels={false} title="Mean" unit="ms" series={series("mean", view.mean)} presence={view.any} />
      <Chart {...shared} markLabels={false} title="Rows per call" unit="rows" series={series("rows", view.rows)} presence={view.any} />
    </div>
  );
}

function whole(list: Value[][], grid: { from: number; to: number; step: number }): Value[] {
  return list.length === 0 ? onGrid([], grid) : sum(list);
}

function Facts({ sums, seconds }: { sums: StatementSums | null; seconds: number }) {
  if (sums === null) return <p className={styles["none"]}>In this range it is not among the stored statements of this database and user.</p>;
  const n = numbers(sums, seconds);
  const read = (name: string) => {
    const value = (sums as Record<string, unknown>)[name];
    return typeof value === "number" ? value : null;
  };
  const perCallBytes = (name: string) => {
    const blocks = read(name);
    return blocks === null || !sums.calls ? null : (blocks * 8192) / sums.calls;
  };
  const facts: [string, string, string][] = [
    ["Calls", count(sums.calls), exact(sums.calls)],
    ["Total time", ms(sums.total_exec_time), `${exact(sums.total_exec_time)} ms`],
    ["Mean", ms(n.meanMs), `${exact(n.meanMs)} ms`],
    ["Rows", count(sums.rows), exact(sums.rows)],
    ["Rows per call", sig(n.rowsPerCall), exact(n.rowsPerCall)],
    ["Hit", n.hit === null ? missing : `${percent(n.hit)} %`, exact(n.hit)],
    ["Read per call", bytes(perCallBytes("shared_blks_read")), ""],
    ["Temp per call", bytes(perCallBytes("temp_blks_written")), ""],
    ["WAL", bytes(read("wal_bytes")), `${exact(read("wal_bytes"))} bytes`],
  ];
  return (
    <dl className={styles["facts"]}>
      {facts.map(([name, text, title]) => (
        <div key={name} title={title}><dt>{name}</dt><dd>{text}</dd></div>
      ))}
    </dl>
  );
}

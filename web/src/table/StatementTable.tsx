import { useMemo } from "react";
import type { StatementItem, Statements, StatementSums } from "~/api/types";
import { Sparkline } from "~/chart/Sparkline";
import { count, exact, missing, percent, sig } from "~/format/number";
import { bytes } from "~/format/unit";
import { SqlLine } from "~/ui/Sql";
import { State } from "~/ui/State";
import { Bar } from "./Bar";
import { type Col, DataTable } from "./DataTable";
import { accountShares, itemKey, numbers } from "./statements";
import styles from "./statements.module.css";

interface Props {
  account: Statements;
  /** The additive column that the server sorted by. */
  sort: string;
  onSort: (sort: string) => void;
  onOpen: (item: StatementItem) => void;
  isOpen?: (item: StatementItem) => boolean;
}

interface Row {
  item: StatementItem;
  share: string | null;
  n: ReturnType<typeof numbers>;
}

const names: Record<string, string> = { total_exec_time: "load", calls: "calls", rows: "rows", temp_blks_written: "temp", wal_bytes: "wal" };
const columnOf = Object.fromEntries(Object.entries(names).map(([column, name]) => [name, column]));

function Bytes({ value }: { value: number | null }) {
  return <span title={exact(value)}>{bytes(value)}</span>;
}

function Sig({ value }: { value: number | null }) {
  return <span title={exact(value)}>{sig(value)}</span>;
}

/** Statements by the sorted column, and the rest of the account pinned below: nothing that was counted is left out. */
export function StatementTable({ account, sort, onSort, onOpen, isOpen }: Props) {
  const { seconds } = account;
  const parts = useMemo(() => accountShares(account, sort), [account, sort]);
  const rows = useMemo<Row[]>(() => account.items.map((item, i) => ({ item, share: parts.items[i] ?? null, n: numbers(item, seconds) })), [account, parts, seconds]);
  const top = Math.max(0, ...rows.map((row) => row.n.load ?? 0), numbers(account.rest, seconds).load ?? 0);
  const sorted = names[sort] ?? "load";
  const cols = useMemo<Col<Row>[]>(
    () => [
      { id: "load", header: "Load, s/s", num: true, sort: (row) => row.n.load, title: "Seconds of execution per second: sessions busy with it on average", cell: (row) => <span className={styles["load"]} title={exact(row.n.load)}>{sig(row.n.load)}<Bar width={52} max={top} parts={[{ value: row.n.load ?? 0, token: "data" }]} /></span> },
      { id: "share", header: "Share %", num: true, title: `Of the total ${sort}`, cell: (row) => row.share ?? missing },
      { id: "statement", header: "Statement", grow: true, cell: (row) => (row.item.query === null ? <span className="dim">text not read yet, query id <code>{row.item.query_id}</code></span> : <span title={row.item.query.slice(0, 2000)}><SqlLine text={row.item.query} /></span>) },
      { id: "database", header: "Database", cell: (row) => row.item.database },
      { id: "user", header: "User", cell: (row) => row.item.user },
      { id: "calls", header: "Calls/s", num: true, sort: (row) => row.n.callsPerSecond, cell: (row) => <span title={`${count(row.item.calls)} calls`}>{sig(row.n.callsPerSecond)}</span> },
      { id: "mean", header: "Mean, ms", num: true, cell: (row) => <Sig value={row.n.meanMs} /> },
      { id: "rows", header: "Rows/call", num: true, cell: (row) => <Sig value={row.n.rowsPerCall} /> },
      { id: "hit", header: "Hit %", num: true, title: "Blocks found in the buffer cache", cell: (row) => percent(row.n.hit) },
      { id: "temp", header: "Temp/s", num: true, sort: (row) => row.n.tempPerSecond, title: "Written to temporary files", cell: (row) => <Bytes value={row.n.tempPerSecond} /> },
      { id: "wal", header: "WAL/s", num: true, sort: (row) => row.n.walPerSecond, cell: (row) => <Bytes value={row.n.walPerSecond} /> },
      { id: "trend", header: `Trend, ${sorted}`, cell: (row) => <Sparkline values={row.item.trend ?? []} label={`trend of ${sorted}`} width={72} /> },
    ],
    [top, sort, sorted],
  );
  const pinned = [
    end("rest", account.rest, parts.rest, `${count(Math.max(0, account.count - account.items.length))} statements beyond the ${account.items.length} shown; all stored`, "data-2"),
    end("cut", account.cut, parts.cut, "beyond the collector’s limit per tick, or with hidden ids; sums per database and user", "wait-timeout"),
    end("dropped", account.dropped, parts.dropped, "batches that were refused or did not fit the spool; sums kept", "wait-io"),
    end("total", account.total, parts.rest === null ? null : "100.0", `= ${account.items.length} items + rest + cut + dropped; coverage ${percent(account.coverage.calls)} % of calls, ${percent(account.coverage.time)} % of time`, null),
  ];

  function end(name: string, sums: StatementSums, share: string | null, text: string, token: string | null) {
    const n = numbers(sums, seconds);
    return {
      key: name,
      strong: name === "total",
      wide: 2,
      cells: [
        <span key="l" className={styles["load"]} title={exact(n.load)}>{sig(n.load)}{token === null ? <span className={styles["noBar"]} /> : <Bar width={52} max={top} parts={[{ value: n.load ?? 0, token }]} />}</span>,
        share ?? missing,
        <span key="t" className={styles["end"]}><b>{name}</b> {text}</span>,
        null,
        null,
        <span key="c" title={`${count(sums.calls ?? null)} calls`}>{sig(n.callsPerSecond)}</span>,
        sig(n.meanMs),
        sig(n.rowsPerCall),
        percent(n.hit),
        bytes(n.tempPerSecond),
        bytes(n.walPerSecond),
        null,
      ],
    };
  }

  return (
    <DataTable
      label="Statements"
      cols={cols}
      rows={rows}
      rowKey={(row) => itemKey(row.item)}
      sort={{ id: sorted, desc: true }}
      serverSorts
      onSort={(next) => onSort(columnOf[next.id] ?? "total_exec_time")}
      selected={(row) => isOpen?.(row.item) ?? false}
      onOpen={(row) => onOpen(row.item)}
      pinned={account.count === 0 && account.total.calls === undefined ? [] : pinned}
      empty={<State kind="empty" title="No statement in this range">Either none ran under these filters, or pg_stat_statements is not read on this instance; then the reason stands above.</State>}
    />
  );
}

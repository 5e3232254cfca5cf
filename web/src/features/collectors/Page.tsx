import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo } from "react";
import { useAnswered } from "~/api/useAnswered";
import { useKept } from "~/api/useKept";
import { Heatmap } from "~/chart/Heatmap";
import { count, percent } from "~/format/number";
import { DataTable } from "~/table/DataTable";
import { parseSort, type Sort, sortText } from "~/table/rows";
import { useTime, useTimeRange } from "~/time/TimeProvider";
import page from "~/ui/page.module.css";
import { Failed, Stale, State } from "~/ui/State";
import { Status } from "~/ui/Status";
import { columns } from "./columns";
import styles from "./collectors.module.css";
import { Cost } from "./Cost";
import { SilentDetail } from "./SilentDetail";
import { addCounts, costs, heatRows, imbalance, success } from "./model";
import { collectorsQuery, ledgerGridQuery } from "./queries";

const fallback: Sort = { id: "state", desc: false };
const legend = ["stored", "failed", "skipped", "dropped", "pending", "missing"] as const;

export default function CollectorsPage() {
  const window = useTimeRange();
  const { now, zone } = useTime();
  const search = useSearch({ from: "/collectors" });
  const navigate = useNavigate({ from: "/collectors" });
  const step = Math.max(10, Math.ceil((window.to - window.from) / 60 / 10) * 10);
  // Whole steps: a column is the same minute after every refresh.
  const wide = { from: Math.floor(window.from / step) * step, to: Math.ceil(window.to / step) * step };
  const collectors = useQuery(collectorsQuery(window));
  const grid = useQuery(ledgerGridQuery(wide, step));
  const openText = search.open ?? "";
  const list = useKept(collectors.data, "");
  const answered = useAnswered(collectors.dataUpdatedAt);
  const map = useKept(grid.data, "");
  const rows = useMemo(() => {
    const open = new Set(openText.split(",").filter((id) => id !== ""));
    const toggle = (id: string) => {
      const next = new Set(open);
      if (!next.delete(id)) next.add(id);
      void navigate({ search: (old) => ({ ...old, open: next.size === 0 ? undefined : [...next].join(",") }), resetScroll: false, replace: true });
    };
    return heatRows(map?.rows ?? [], open, toggle);
  }, [map, openText, navigate]);
  const counts = useMemo(() => addCounts((map?.rows ?? []).map((row) => row.counts)), [map]);
  const spool = Math.max(0, ...(list ?? []).map((one) => one.spool_bytes ?? 0));
  const memory = Math.max(0, ...(list ?? []).map((one) => one.memory_bytes ?? 0));
  const cols = useMemo(() => columns(now, spool, memory), [now, spool, memory]);
  const sort = parseSort(search.sort, cols.map((col) => col.id), fallback);
  const off = imbalance(counts);
  const instances = (list ?? []).reduce((sum, one) => sum + one.instances.length, 0);

  return (
    <div className={page["page"]}>
      <div className={page["headline"]}>
        <h1>Collectors</h1>
        <p>{list === undefined ? "" : `${list.length}, watching ${count(instances)} ${instances === 1 ? "instance" : "instances"}. `}Pool is at work / open / at most; cycle is the longest round of a tick, from planned start to spooled</p>
      </div>
      {list === undefined ? (
        collectors.isError ? <Failed what="Collectors" error={collectors.error} onRetry={() => void collectors.refetch()} /> : <State kind="loading" title="Reading collectors" />
      ) : (
        <>
          {collectors.isError && <Stale error={collectors.error} answered={answered} onRetry={() => void collectors.refetch()} />}
          <DataTable
            label="Collectors"
            cols={cols}
            rows={list}
            rowKey={(one) => one.id}
            sort={sort}
            onSort={(next) => void navigate({ search: (old) => ({ ...old, sort: sortText(next, fallback) }) })}
            detail={(one) => (one.state === "reporting" ? null : <SilentDetail collector={one} now={now} zone={zone} />)}
            empty={<State kind="empty" title="No collector has registered">Start one with <code>pganalytics collector --config collector/config.toml</code>, or everything in one with <code>pganalytics up</code>.</State>}
          />
        </>
      )}
      <div className={styles["below"]}>
        <section className={styles["ledger"]} aria-label="Ledger">
          <div className={styles["legend"]}>
            <h2>Ledger</h2>
            <span className="dim">planned <b>{count(counts.planned)}</b></span>
            {legend.map((name, i) => <span key={name} className={styles["term"]}><span className="dim">{i === 0 ? "=" : "+"}</span> <i data-cell={name} /> {name} <b>{count(counts[name])}</b></span>)}
            <span className={page["fill"]} />
            <span>success <b>{success(counts) === null ? "–" : `${percent(success(counts), 2)} %`}</b></span>
          </div>
          {off !== 0 && <p className={styles["fault"]}><Status tone="critical">the ledger does not close: {count(off)} ticks have no outcome. Please report this</Status></p>}
          {map === undefined ? (
            grid.isError ? <Failed what="The ledger" error={grid.error} onRetry={() => void grid.refetch()} /> : <State kind="loading" title="Reading the ledger" />
          ) : rows.length === 0 ? (
            <State kind="empty" title="Nothing was planned in this range">A collector announces its schedule with its first batch.</State>
          ) : (
            <div className={styles["scroll"]}>
              <Heatmap rows={rows} from={map.from} to={map.to} step={map.step} zone={zone} />
            </div>
          )}
        </section>
        <Cost rows={costs(list ?? [])} span={window.to - window.from} />
      </div>
      <p className={styles["note"]}>
        One column is {step % 60 === 0 ? (step === 60 ? "a minute" : `${step / 60} minutes`) : `${step} s`}. A cell filled only at its foot: fewer than half of its ticks. An instance’s row is the sum of its families; ← and → go from exception to exception.
      </p>
    </div>
  );
}

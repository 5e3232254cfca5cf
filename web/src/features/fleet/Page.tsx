import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { eventsQuery, instancesQuery } from "~/api/queries";
import type { Instance } from "~/api/types";
import { useAnswered } from "~/api/useAnswered";
import { useKept } from "~/api/useKept";
import { DataTable } from "~/table/DataTable";
import { parseSort, type Sort, sortText } from "~/table/rows";
import { useTime, useTimeRange } from "~/time/TimeProvider";
import { limits, stateOf } from "~/ui/instance";
import page from "~/ui/page.module.css";
import { usePhone } from "~/ui/phone";
import { Filter, Pick } from "~/ui/Pick";
import { Failed, Stale, State } from "~/ui/State";
import { Cards } from "./Cards";
import { columns, pinnedRow } from "./columns";
import { Detail } from "./Detail";
import { FirstRun } from "./FirstRun";
import { isFirstRun, matches, summarize } from "./model";
import { ledgerReasonsQuery, startupQuery } from "./queries";
import { Summary } from "./Summary";
import { Events, Reasons } from "./Tables";
import styles from "./fleet.module.css";

const fallback: Sort = { id: "state", desc: false };
const states = [["all", "all"], ["down", "down"], ["unknown", "unknown"], ["limited", "up, limited"], ["up", "up"]].map(([value = "", label = ""]) => ({ value, label }));

export default function FleetPage() {
  const window = useTimeRange();
  const time = useTime();
  const narrow = usePhone();
  const search = useSearch({ from: "/" });
  const navigate = useNavigate({ from: "/" });
  const { data: fresh, dataUpdatedAt, error, isError, refetch } = useQuery({ ...instancesQuery(window), refetchInterval: (query) => (query.state.data === undefined || query.state.data.some((one) => one.xacts_per_second != null) ? false : 1000) });
  const data = useKept(fresh, "");
  const answered = useAnswered(dataUpdatedAt);
  const first = data !== undefined && !data.some((one) => one.xacts_per_second != null);
  const startup = useQuery(startupQuery(first));
  const events = useQuery(eventsQuery(window));
  const ledger = useQuery(ledgerReasonsQuery(window));
  const sort = parseSort(search.sort, columns(0, window).map((col) => col.id), fallback);
  const text = search.q ?? "";
  const state = search.state ?? "all";
  const shown = useMemo(() => (data ?? []).filter((one) => matches(one, text, state)), [data, text, state]);
  const summary = useMemo(() => summarize(data ?? []), [data]);
  const wal = Math.max(0, ...shown.map((one) => one.wal_bytes_per_second ?? 0));
  const cols = useMemo(() => columns(wal, { from: window.from, to: window.to }), [wal, window.from, window.to]);
  const setText = useCallback((q: string) => void navigate({ search: (old) => ({ ...old, q: q === "" ? undefined : q }), replace: true }), [navigate]);

  if (data === undefined) return isError ? <Failed what="The fleet" error={error} onRetry={() => void refetch()} /> : <State kind="loading" title="Reading the fleet" />;
  if (isFirstRun(data, startup.data?.started, time.now)) return <FirstRun instances={data} startup={startup.data} />;
  const shared = {
    cols,
    rows: shown,
    sort,
    onSort: (next: Sort) => void navigate({ search: (old) => ({ ...old, sort: sortText(next, fallback) }), resetScroll: false }),
    detail: (one: Instance) => (stateOf(one) === "up" ? null : <Detail instance={one} now={time.now} zone={time.zone} />),
    empty: <State kind="empty" title="No instance matches">Take a filter away to see the others.</State>,
  };
  return (
    <div className={page["page"]}>
      <h1 className="hidden-text">Fleet</h1>
      {isError && <Stale error={error} answered={answered} onRetry={() => void refetch()} />}
      <Summary summary={summary} count={data.length} now={time.now} limited={data.filter((one) => limits(one).length > 0).length} span={window.to - window.from} />
      <div className={page["bar"]}>
        <Filter label="Name or label" value={text} onChange={setText} />
        <Pick label="State" value={state} options={states} onPick={(value) => void navigate({ search: (old) => ({ ...old, state: value === "all" ? undefined : value }) })} />
        <span className="dim">{shown.length === data.length ? `${data.length} ${data.length === 1 ? "instance" : "instances"}` : `${shown.length} of ${data.length} instances`}{sort.id === "state" ? ", by severity, then active sessions" : ""}</span>
      </div>
      {narrow ? <Cards {...shared} /> : (
        <DataTable
          {...shared}
          label="Instances"
          rowKey={(one) => one.id}
          onOpen={(one) => void navigate({ to: "/instances/$id", params: { id: one.id } })}
          pinned={[pinnedRow(summarize(shown), wal, shown.length)]}
        />
      )}
      <div className={styles["below"]}>
        <Events query={events} zone={time.zone} window={window} now={time.now} />
        <Reasons query={ledger} />
      </div>
    </div>
  );
}

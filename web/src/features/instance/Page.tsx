import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMemo } from "react";
import { eventsQuery, instanceQuery } from "~/api/queries";
import { useAnswered } from "~/api/useAnswered";
import { useKept } from "~/api/useKept";
import { useCrosshair } from "~/chart/crosshair";
import { StatementTable } from "~/table/StatementTable";
import { openSearch, statementsQuery } from "~/table/statements";
import { useTime, useTimeRange } from "~/time/TimeProvider";
import { moment, span } from "~/time/zone";
import { InstanceHead } from "~/ui/InstanceHead";
import { marksOf } from "~/ui/marks";
import page from "~/ui/page.module.css";
import { Failed, Stale, State } from "~/ui/State";
import { EventStrip } from "./EventStrip";
import { Facts } from "./Facts";
import { panels } from "./model";
import { PanelChart } from "./PanelChart";
import styles from "./instance.module.css";

const placed = panels();

export default function InstancePage() {
  const { id } = useParams({ from: "/instances/$id" });
  const { now, zone } = useTime();
  const wide = useTimeRange();
  const { data: fresh, dataUpdatedAt, error, isError, refetch } = useQuery(instanceQuery(id, wide));
  const data = useKept(fresh, id);
  const answered = useAnswered(dataUpdatedAt);
  const window = useTimeRange(data?.interval ?? 60);
  const events = useQuery({ ...eventsQuery(wide, id), enabled: data !== undefined });
  const marks = useMemo(() => marksOf(events.data ?? []), [events.data]);
  if (data === undefined) return isError ? <Failed what="The instance" error={error} onRetry={() => void refetch()} /> : <State kind="loading" title="Reading the instance" />;
  return (
    <>
      <InstanceHead instance={data} tab="overview" />
      <Facts instance={data} now={now} zone={zone} />
      <div className={page["page"]}>
        {isError && <Stale error={error} answered={answered} onRetry={() => void refetch()} />}
        <div className={styles["strip"]}>
          <EventStrip events={events.data} now={now} zone={zone} />
          <Moment />
        </div>
        <div className={styles["charts"]}>
          {placed.map((one, i) => <PanelChart key={`${id} ${one.family.name} ${one.panel.title}`} placed={one} instance={data} window={window} marks={marks} markLabels={i === 0} />)}
        </div>
        <TopStatements id={id} window={wide} title={span(wide.from, wide.to, zone, now)} />
      </div>
    </>
  );
}

function Moment() {
  const at = useCrosshair();
  const { now, zone } = useTime();
  return <span className="dim">{at === null ? "Legends show the newest values" : `Crosshair ${moment(at, zone, now)}: every legend shows its values`}</span>;
}

function TopStatements({ id, window, title }: { id: string; window: { from: number; to: number }; title: string }) {
  const query = useQuery(statementsQuery(id, window, { sort: "total_exec_time", limit: 10, trend: 60 }));
  const account = useKept(query.data, id);
  const navigate = useNavigate();
  return (
    <section aria-label="Top statements" className={styles["top"]}>
      <div className={styles["topHead"]}>
        <h2>Top statements</h2>
        <span className="dim">{title}, follows the range</span>
        <span className={page["fill"]} />
        <Link to="/instances/$id/queries" params={{ id }}>{account === undefined ? "All statements" : `All ${account.count} statements`} →</Link>
      </div>
      {account === undefined ? (
        query.isError ? <Failed what="Statements" error={query.error} onRetry={() => void query.refetch()} /> : <State kind="loading" title="Reading statements" />
      ) : (
        <StatementTable
          account={account}
          sort="total_exec_time"
          onSort={(sort) => void navigate({ to: "/instances/$id/queries", params: { id }, search: { sort: sort === "total_exec_time" ? undefined : sort } })}
          onOpen={(item) => void navigate({ to: "/instances/$id/queries", params: { id }, search: openSearch(item) })}
        />
      )}
    </section>
  );
}

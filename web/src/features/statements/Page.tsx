import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useCallback, useEffect } from "react";
import { instanceQuery } from "~/api/queries";
import { useAnswered } from "~/api/useAnswered";
import { useKept } from "~/api/useKept";
import { StatementTable } from "~/table/StatementTable";
import { isOpen, openPlace, openSearch, sortable, statementsQuery } from "~/table/statements";
import { useTime, useTimeRange } from "~/time/TimeProvider";
import { InstanceHead } from "~/ui/InstanceHead";
import page from "~/ui/page.module.css";
import { Filter, Pick } from "~/ui/Pick";
import { Failed, Stale, State } from "~/ui/State";
import { Account } from "./Account";
import { Detail } from "./Detail";
import { limits, parseLimit } from "./model";

const all = "";

export default function StatementsPage() {
  const { id } = useParams({ from: "/instances/$id/queries" });
  const search = useSearch({ from: "/instances/$id/queries" });
  const navigate = useNavigate({ from: "/instances/$id/queries" });
  const { now, zone } = useTime();
  const window = useTimeRange();
  const instance = useQuery(instanceQuery(id, window));
  const known = useKept(instance.data, id);
  const sort = (sortable as readonly string[]).includes(search.sort ?? "") ? (search.sort ?? "") : "total_exec_time";
  const limit = parseLimit(search.limit);
  const { data: fresh, dataUpdatedAt, error, isError, refetch } = useQuery(statementsQuery(id, window, { sort, limit, trend: 60, database: search.database, user: search.user, text: search.text }));
  const data = useKept(fresh, id);
  const answered = useAnswered(dataUpdatedAt);
  const setText = useCallback((text: string) => void navigate({ search: (old) => ({ ...old, text: text === "" ? undefined : text }), replace: true }), [navigate]);
  const close = useCallback(() => void navigate({ search: (old) => ({ ...old, open: undefined, open_database: undefined, open_user: undefined }), resetScroll: false }), [navigate]);
  useEffect(() => {
    if (search.open === undefined) return undefined;
    const press = (event: KeyboardEvent) => event.key === "Escape" && document.querySelector("[role=dialog]") === null && close();
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [search.open, close]);

  const options = (names: readonly string[] | undefined) => [{ value: all, label: `all ${names?.length ?? ""}`.trim() }, ...(names ?? []).map((name) => ({ value: name, label: name }))];
  if (known === undefined) return instance.isError ? <Failed what="The instance" error={instance.error} onRetry={() => void instance.refetch()} /> : <State kind="loading" title="Reading the instance" />;
  return (
    <>
      <InstanceHead instance={known} tab="queries" />
      <div className={page["page"]}>
        {data === undefined ? (
          isError ? <Failed what="Statements" error={error} onRetry={() => void refetch()} /> : <State kind="loading" title="Reading statements" />
        ) : (
          <>
            {isError && <Stale error={error} answered={answered} onRetry={() => void refetch()} />}
            {(data.count > 0 || data.total.calls !== undefined) && <Account account={data} now={now} zone={zone} />}
            <div className={page["bar"]}>
              <Pick label="Database" value={search.database ?? all} options={options(data.databases)} onPick={(value) => void navigate({ search: (old) => ({ ...old, database: value || undefined }) })} />
              <Pick label="User" value={search.user ?? all} options={options(data.users)} onPick={(value) => void navigate({ search: (old) => ({ ...old, user: value || undefined }) })} />
              <Filter label="Text or query id" value={search.text ?? ""} onChange={setText} />
              <Pick label="Show" value={String(limit)} options={limits.map((n) => ({ value: String(n), label: `top ${n}` }))} onPick={(value) => void navigate({ search: (old) => ({ ...old, limit: Number(value) === 15 ? undefined : Number(value) }) })} />
              <span className="dim">{data.items.length} of {data.count} stored statements</span>
            </div>
            <StatementTable
              account={data}
              sort={sort}
              isOpen={(item) => isOpen(item, search)}
              onSort={(next) => void navigate({ search: (old) => ({ ...old, sort: next === "total_exec_time" ? undefined : next }), resetScroll: false })}
              onOpen={(item) => (isOpen(item, search) && openPlace(search) !== null ? close() : void navigate({ search: (old) => ({ ...old, ...openSearch(item) }), resetScroll: false }))}
            />
            {search.open !== undefined && (
              <Detail
                key={search.open}
                instance={known}
                queryId={search.open}
                place={openPlace(search)}
                window={window}
                onPlace={(place) => void navigate({ search: (old) => ({ ...old, open_database: place?.database, open_user: place?.user }), resetScroll: false })}
                onClose={close}
              />
            )}
          </>
        )}
      </div>
    </>
  );
}

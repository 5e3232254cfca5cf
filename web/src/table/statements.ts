import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { client, unwrap } from "~/api/client";
import { keys } from "~/api/keys";
import { windowQuery } from "~/api/queries";
import type { StatementItem, Statements, StatementSums } from "~/api/types";
import { shares } from "~/format/number";

// The account of calls, as two pages show it; the numbers of a row from its sums; pure but for the query.

export interface Asked {
  sort: string;
  limit: number;
  trend: number;
  database?: string;
  user?: string;
  text?: string;
}

export const statementsQuery = (id: string, window: { from: number; to: number }, asked: Asked) =>
  queryOptions({
    queryKey: keys.statements(id, window, { ...asked }),
    queryFn: ({ signal }) => unwrap(client.GET("/api/v1/instances/{id}/statements", { params: { path: { id }, query: { ...windowQuery(window), ...asked } }, signal })),
    // The old account of another instance would be wrong; of another window it is only old.
    placeholderData: (previous, query) => (query?.queryKey[1] === id ? keepPreviousData(previous) : undefined),
  });

/** Columns that a reader can sort by: they add up, so the store can sort by exactly the number that is shown. */
export const sortable = ["total_exec_time", "calls", "rows", "temp_blks_written", "wal_bytes"] as const;

/** A block as PostgreSQL is built by default; the catalog's unit "blocks" says the same. */
const block = 8192;

export interface Numbers {
  /** Seconds of execution per second. */
  load: number | null;
  callsPerSecond: number | null;
  meanMs: number | null;
  rowsPerCall: number | null;
  hit: number | null;
  tempPerSecond: number | null;
  walPerSecond: number | null;
}

export function numbers(sums: StatementSums, seconds: number): Numbers {
  const read = (name: string): number | null => {
    const value = (sums as Record<string, unknown>)[name];
    return typeof value === "number" ? value : null;
  };
  const calls = read("calls");
  const time = read("total_exec_time");
  const [hits, reads] = [read("shared_blks_hit"), read("shared_blks_read")];
  const blocks = hits === null || reads === null ? 0 : hits + reads;
  return {
    load: over(time === null ? null : time / 1000, seconds),
    callsPerSecond: over(calls, seconds),
    meanMs: over(time, calls),
    rowsPerCall: over(read("rows"), calls),
    hit: blocks > 0 ? over(hits, blocks) : null,
    tempPerSecond: over(scaled(read("temp_blks_written"), block), seconds),
    walPerSecond: over(read("wal_bytes"), seconds),
  };
}

function over(a: number | null, b: number | null): number | null {
  return a === null || b === null || b <= 0 ? null : a / b;
}

function scaled(value: number | null, by: number): number | null {
  return value === null ? null : value * by;
}

/** One place of a statement: the list has an item for each. */
export interface Place {
  database: string;
  user: string;
}

/** What the URL holds of an opened item. A place is whole or it is none. */
export function openSearch(item: Place & { query_id: string }) {
  return { open: item.query_id, open_database: item.database, open_user: item.user };
}

export function openPlace(search: { open_database?: string; open_user?: string }): Place | null {
  return search.open_database === undefined || search.open_user === undefined ? null : { database: search.open_database, user: search.open_user };
}

/** Is this item shown by what is open? */
export function isOpen(item: Place & { query_id: string }, search: { open?: string; open_database?: string; open_user?: string }): boolean {
  const place = openPlace(search);
  return item.query_id === search.open && (place === null || (item.database === place.database && item.user === place.user));
}

export const itemKey = (item: StatementItem): string => `${item.query_id} ${item.database} ${item.user}`;

const ends = ["rest", "cut", "dropped"] as const;

/** Shares of the sorted column, adding up to 100.0 over items, rest, cut and dropped. */
export function accountShares(account: Statements, sort: string): { items: (string | null)[]; rest: string | null; cut: string | null; dropped: string | null } {
  const read = (sums: StatementSums) => Number((sums as Record<string, unknown>)[sort] ?? 0);
  const all = shares([...account.items.map(read), ...ends.map((end) => read(account[end]))]);
  const n = account.items.length;
  return { items: all.slice(0, n), rest: all[n] ?? null, cut: all[n + 1] ?? null, dropped: all[n + 2] ?? null };
}

export function addUp(rows: readonly StatementSums[], column: string): number {
  return rows.reduce((sum, row) => sum + Number((row as Record<string, unknown>)[column] ?? 0), 0);
}

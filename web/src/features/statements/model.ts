import type { Statement, Statements, StatementSums } from "~/api/types";
import type { Value } from "~/chart/grid";
import { count, fixed } from "~/format/number";
import type { Place } from "~/table/statements";

// The account as an equation whose written numbers add up, and the charts of one statement; pure.

export interface Equation {
  total: string;
  items: string;
  rest: string;
  cut: string;
  dropped: string;
}

const parts = ["items", "rest", "cut", "dropped"] as const;

/** Written parts that add up to the written total: the last digit goes where the remainder is largest. */
export function equation(values: Record<(typeof parts)[number], number>, digits: number): Equation {
  const scale = 10 ** digits;
  const exact = parts.map((part) => values[part] * scale);
  const total = Math.round(exact.reduce((sum, value) => sum + value, 0));
  const units = exact.map((value) => Math.floor(value + 1e-9));
  let left = total - units.reduce((sum, value) => sum + value, 0);
  const order = exact.map((value, i) => ({ i, rest: value - (units[i] ?? 0) })).sort((a, b) => b.rest - a.rest);
  for (const { i } of order) {
    if (left <= 0) break;
    units[i] = (units[i] ?? 0) + 1;
    left--;
  }
  const text = (n: number | undefined) => (digits === 0 ? count(n) : fixed((n ?? 0) / scale, digits));
  return { total: text(total), items: text(units[0]), rest: text(units[1]), cut: text(units[2]), dropped: text(units[3]) };
}

export function digitsFor(total: number): number {
  return total >= 1000 ? 1 : total >= 10 ? 2 : 3;
}

const read = (sums: StatementSums, column: string): number => Number((sums as Record<string, unknown>)[column] ?? 0);

export function partsOf(account: Statements, column: string, by = 1) {
  return {
    items: account.items.reduce((sum, item) => sum + read(item, column), 0) / by,
    rest: read(account.rest, column) / by,
    cut: read(account.cut, column) / by,
    dropped: read(account.dropped, column) / by,
  };
}

/** What the parts of the answer miss of its total, in the unit of the column; anything but 0 is a fault that must be seen. */
export function imbalance(account: Statements, column: string): number {
  const { items, rest, cut, dropped } = partsOf(account, column);
  const off = read(account.total, column) - (items + rest + cut + dropped);
  return Math.abs(off) < Math.max(1e-6, read(account.total, column) * 1e-9) ? 0 : off;
}

export const unobservedText: Record<string, string> = {
  evicted: "evicted", reset: "statistics reset", restart: "server restarted", restored: "collector restored from a copy", corrupt: "the collector's copy was damaged", privilege: "rows became visible or hidden", collector_change: "another collector took over", vanished: "vanished between two readings",
};

/** Bucket by bucket a / b, where both are known and something was counted. */
export function perCall(total: readonly Value[], calls: readonly Value[]): Value[] {
  return total.map((value, i) => {
    const n = calls[i] ?? null;
    return value === null || n === null || n === 0 ? null : value / n;
  });
}

export function samePlace(a: Place, b: Place): boolean {
  return a.database === b.database && a.user === b.user;
}

/** The numbers of one place are those of its row in the list; null when it has none in the range. */
export function sumsOf(statement: Pick<Statement, "items" | "total">, place: Place | null): StatementSums | null {
  return place === null ? statement.total : (statement.items.find((item) => samePlace(item, place)) ?? null);
}

/** Filters of the series of a statement: by the keys of the family, which take names. */
export function seriesWhere(queryId: string, place: Place | null): Record<string, string> {
  return { queryid: queryId, ...(place === null ? {} : { dbid: place.database, userid: place.user }) };
}

export const limits = [15, 50, 200, 1000] as const;

export function parseLimit(value: number | undefined): number {
  return value !== undefined && (limits as readonly number[]).includes(value) ? value : 15;
}

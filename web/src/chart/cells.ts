// The ledger as cells of a heat map; pure.

export type Outcome = "stored" | "failed" | "skipped" | "dropped" | "pending" | "missing";

/** [planned, stored, failed, skipped, dropped, pending, missing] of one step, as the API gives it. */
export type Tally = readonly number[];

export const outcomes: readonly Outcome[] = ["stored", "failed", "skipped", "dropped", "pending", "missing"];
/** The one that a cell shows when several are in it: what was lost for certain first. */
const worst: readonly Outcome[] = ["failed", "dropped", "missing", "skipped", "pending"];

export interface Cell {
  /** null: nothing was planned here. */
  kind: Outcome | null;
  /** Fewer than half of its ticks are hit: only the foot is filled. */
  foot: boolean;
  planned: number;
  hit: number;
}

function tally(cell: Tally, outcome: Outcome): number {
  return cell[outcomes.indexOf(outcome) + 1] ?? 0;
}

export function cellOf(cell: Tally): Cell {
  const planned = cell[0] ?? 0;
  if (planned === 0) return { kind: null, foot: false, planned, hit: 0 };
  const kind = worst.find((outcome) => tally(cell, outcome) > 0) ?? "stored";
  const hit = tally(cell, kind);
  return { kind, foot: kind !== "stored" && hit * 2 < planned, planned, hit };
}

/** A row that stands for several: sums cell by cell. */
export function addTallies(rows: readonly (readonly Tally[])[]): Tally[] {
  const length = Math.max(0, ...rows.map((row) => row.length));
  return Array.from({ length }, (_, i) => Array.from({ length: 7 }, (_none, j) => rows.reduce((sum, row) => sum + (row[i]?.[j] ?? 0), 0)));
}

/** The next cell in a direction that tells something: an exception, or null when there is none. */
export function nextException(cells: readonly Cell[], from: number, direction: -1 | 1): number | null {
  for (let i = from + direction; i >= 0 && i < cells.length; i += direction) {
    const kind = cells[i]?.kind;
    if (kind !== null && kind !== undefined && kind !== "stored") return i;
  }
  return null;
}

export interface Exception {
  time: number;
  outcome: string;
  reason: string;
  detail?: string;
  /** Of a row that stands for several: where. */
  where?: string;
}

export interface Told {
  text: string;
  detail: string;
  ticks: number;
  first: number;
}

/** Exceptions of one step (start < time <= end) by outcome and reason, most frequent first. */
export function tell(exceptions: readonly Exception[], start: number, end: number): Told[] {
  const found = new Map<string, Told>();
  for (const one of exceptions) {
    if (one.time <= start || one.time > end) continue;
    const text = `${one.outcome}${one.reason === "" ? "" : `(${one.reason})`}${one.where === undefined ? "" : `, ${one.where}`}`;
    const known = found.get(text);
    if (known === undefined) found.set(text, { text, detail: one.detail ?? "", ticks: 1, first: one.time });
    else known.ticks++;
  }
  return [...found.values()].sort((a, b) => b.ticks - a.ticks);
}

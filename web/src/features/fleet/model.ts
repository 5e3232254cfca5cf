import type { Instance } from "~/api/types";
import { severity, type State, stateOf } from "~/ui/instance";

// What the fleet page says of instances; pure.

/** Most severe first, then most active: one number, so that the table can sort by it. */
export function severityOf(instance: Instance): number {
  const load = instance.active_mean ?? 0;
  return severity[stateOf(instance)] - load / (load + 1);
}

export function notStored(instance: Pick<Instance, "counts">): number {
  const { failed, skipped, dropped, missing } = instance.counts;
  return failed + skipped + dropped + missing;
}

export interface Summary {
  byState: Record<State, number>;
  counts: Instance["counts"];
  /** stored / (planned − pending); null when nothing was due. */
  success: number | null;
  reporting: number;
  active: number | null;
  connected: number | null;
  connectionsMax: number | null;
  xacts: number | null;
  wal: number | null;
  /** Lowest statement coverage first; instances without statements are left out. */
  coverage: { name: string; calls: number }[];
  /** Oldest newest data first. */
  oldest: { name: string; at: number }[];
}

export function summarize(instances: readonly Instance[]): Summary {
  const byState: Record<State, number> = { down: 0, unknown: 0, connecting: 0, limited: 0, up: 0 };
  const counts = { planned: 0, stored: 0, failed: 0, skipped: 0, dropped: 0, pending: 0, missing: 0 };
  for (const instance of instances) {
    byState[stateOf(instance)]++;
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += instance.counts[key];
  }
  const due = counts.planned - counts.pending;
  const reporting = instances.filter((one) => one.status === "up");
  return {
    byState,
    counts,
    success: due > 0 ? counts.stored / due : null,
    reporting: reporting.length,
    active: total(reporting, (one) => one.active),
    connected: total(reporting, (one) => one.sessions),
    connectionsMax: total(reporting, (one) => one.max_connections),
    xacts: total(reporting, (one) => one.xacts_per_second),
    wal: total(reporting, (one) => one.wal_bytes_per_second),
    coverage: instances.flatMap((one) => (one.coverage_calls == null ? [] : [{ name: one.name, calls: one.coverage_calls }])).sort((a, b) => a.calls - b.calls),
    oldest: instances.flatMap((one) => (one.newest_data == null ? [] : [{ name: one.name, at: one.newest_data }])).sort((a, b) => a.at - b.at),
  };
}

function total<T>(rows: readonly T[], read: (row: T) => number | null | undefined): number | null {
  let sum: number | null = null;
  for (const row of rows) {
    const value = read(row);
    if (value !== null && value !== undefined) sum = (sum ?? 0) + value;
  }
  return sum;
}

export function matches(instance: Instance, text: string, state: string): boolean {
  if (state !== "all" && stateOf(instance) !== state) return false;
  const all = [instance.name, ...Object.entries(instance.labels).map(([key, value]) => `${key}=${value}`)].join(" ").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

/**
 * The first-run page stands until a rate is known of any instance; a start on old data has one at once.
 * A server that stays away does not hold the others back, and after three minutes the table tells more.
 */
export function isFirstRun(instances: readonly Instance[], started: number | undefined, now: number): boolean {
  if (instances.some((one) => one.xacts_per_second != null)) return false;
  return instances.length === 0 || started === undefined || now - started < 180;
}

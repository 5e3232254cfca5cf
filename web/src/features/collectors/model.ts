import type { Collector, Counts, GridRow } from "~/api/types";
import { addTallies, type Exception } from "~/chart/cells";
import type { HeatRow } from "~/chart/Heatmap";

// The ledger's rows from collector to instance to family, and the sums above them; pure.

export const zero: Counts = { planned: 0, stored: 0, failed: 0, skipped: 0, dropped: 0, pending: 0, missing: 0 };

export function addCounts(list: readonly Counts[]): Counts {
  const sum = { ...zero };
  for (const counts of list) for (const key of Object.keys(zero) as (keyof Counts)[]) sum[key] += counts[key];
  return sum;
}

export function notStored(counts: Counts): number {
  return counts.failed + counts.skipped + counts.dropped + counts.missing;
}

/** stored / (planned − pending); null when nothing was due. */
export function success(counts: Counts): number | null {
  const due = counts.planned - counts.pending;
  return due > 0 ? counts.stored / due : null;
}

/** Planned must be the sum of the six; anything but 0 is a fault that must be seen. */
export function imbalance(counts: Counts): number {
  return counts.planned - counts.stored - counts.failed - counts.skipped - counts.dropped - counts.pending - counts.missing;
}

const familyOrder = ["activity", "database", "wal", "statements", "statement_texts", "settings", "collector", "tables"];

function rank(family: string): number {
  const at = familyOrder.indexOf(family);
  return at < 0 ? familyOrder.length : at;
}

const name = (row: GridRow) => (row.database === "" ? row.family : `${row.family}, ${row.database}`);

/** Collector, its instances, and of an open instance its families; an instance's row is the sum of its families. */
export function heatRows(rows: readonly GridRow[], open: ReadonlySet<string>, toggle: (id: string) => void): HeatRow[] {
  const byCollector = new Map<string, Map<string, GridRow[]>>();
  for (const row of rows) {
    const instances = byCollector.get(row.collector) ?? new Map<string, GridRow[]>();
    instances.set(row.instance, [...(instances.get(row.instance) ?? []), row]);
    byCollector.set(row.collector, instances);
  }
  const found: HeatRow[] = [];
  for (const [collector, instances] of [...byCollector].sort(([a], [b]) => compareNames(a, b))) {
    found.push({ key: `c ${collector}`, label: collector === "" ? "no collector" : collector, level: 0, note: `${instances.size} ${instances.size === 1 ? "instance" : "instances"}`, cells: [], exceptions: [], notStored: 0, title: collector });
    const sorted = [...instances].sort(([, a], [, b]) => compareNames(a[0]?.instance_name ?? "", b[0]?.instance_name ?? ""));
    for (const [id, families] of sorted) {
      const label = families[0]?.instance_name ?? id;
      found.push({
        key: `i ${collector} ${id}`, label, level: 1, title: label, open: open.has(id), onToggle: () => toggle(id),
        cells: addTallies(families.map((row) => row.cells)),
        exceptions: families.flatMap((row) => (row.reasons ?? []).map((one): Exception => ({ ...one, where: name(row) }))),
        notStored: notStored(addCounts(families.map((row) => row.counts))),
      });
      if (!open.has(id)) continue;
      for (const row of families.toSorted((a, b) => rank(a.family) - rank(b.family) || compareNames(name(a), name(b)))) {
        found.push({ key: `f ${collector} ${id} ${row.database} ${row.family}`, label: name(row), level: 2, title: `${name(row)} of ${label}`, cells: row.cells, exceptions: row.reasons ?? [], notStored: notStored(row.counts) });
      }
    }
  }
  return found;
}

function compareNames(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

export interface Cost {
  id: string;
  name: string;
  percent: number | null;
  msPerCycle: number | null;
  status: string;
}

/** Dearest first; instances without a number last, with the reason. */
export function costs(collectors: readonly Collector[]): Cost[] {
  return collectors
    .flatMap((collector) => collector.instances.map((one) => ({ id: one.id, name: one.name, percent: one.cost_percent ?? null, msPerCycle: one.cost_ms_per_cycle ?? null, status: collector.state === "silent" ? "collector silent" : (one.status ?? "no data") })))
    .sort((a, b) => (b.percent ?? -1) - (a.percent ?? -1) || compareNames(a.name, b.name));
}

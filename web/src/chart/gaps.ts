// Where there is no data and why. "gap": no sample, nothing is drawn. "bridged": ticks were lost but a
// longer frame spans them, so the total is kept and drawn flat. "before": nobody watched yet.

import { type Grid, times, type Value } from "./grid";

export interface Loss {
  from: number;
  to: number;
  outcome: string;
  reason: string;
  ticks?: number;
}

export interface Gap {
  kind: "gap" | "bridged" | "before";
  from: number;
  to: number;
  /** Reasons with the number of ticks of each, most frequent first. */
  reasons: { outcome: string; reason: string; ticks: number }[];
}

interface Options {
  grid: Grid;
  /** Per bucket: the sum over the chart's series, null where none has a sample. */
  total: readonly Value[];
  losses: readonly Loss[];
  now: number;
  /** Seconds that a bucket may stay empty at the right edge before it is a gap. */
  patience: number;
  /** When watching began, if that is known and within or after the range. */
  since: number | null;
}

export function findGaps({ grid, total, losses, now, patience, since }: Options): Gap[] {
  const gaps: Gap[] = [];
  const starts = times(grid);
  let open: Gap | null = null;
  const first = total.findIndex((value) => value !== null);
  const close = () => {
    if (open !== null) gaps.push(open);
    open = null;
  };
  starts.forEach((start, i) => {
    const end = start + grid.step;
    const kind = kindOf(start, end);
    if (kind === null) return close();
    if (open === null || open.kind !== kind) {
      close();
      open = { kind, from: start, to: end, reasons: [] };
    } else {
      open.to = end;
    }
    function kindOf(from: number, to: number): Gap["kind"] | null {
      const empty = (total[i] ?? null) === null;
      // A rate needs two readings: until the first, the time after watching began is no gap either.
      const unread = since !== null && (first < 0 || i < first) && from < since + patience;
      if (empty && unread && from < now) return "before";
      if (empty) return from >= now || to > now - patience ? null : "gap";
      return losses.some((loss) => loss.from < to && loss.to > from) ? "bridged" : null;
    }
  });
  close();
  for (const gap of gaps) gap.reasons = gap.kind === "before" ? [] : explain(gap, losses);
  return gaps;
}

function explain(gap: Gap, losses: readonly Loss[]): Gap["reasons"] {
  const counted = new Map<string, Gap["reasons"][number]>();
  for (const loss of losses) {
    if (loss.from >= gap.to || loss.to <= gap.from) continue;
    const key = `${loss.outcome}\n${loss.reason}`;
    const known = counted.get(key);
    const ticks = loss.ticks ?? 1;
    if (known === undefined) counted.set(key, { outcome: loss.outcome, reason: loss.reason, ticks });
    else known.ticks += ticks;
  }
  return [...counted.values()].sort((a, b) => b.ticks - a.ticks);
}

export function gapAt(gaps: readonly Gap[], time: number): Gap | null {
  return gaps.find((gap) => gap.from <= time && time < gap.to) ?? null;
}

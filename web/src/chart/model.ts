import { scaleFor } from "~/format/unit";
import type { Token } from "~/theme/palette";
import { valueAxis, type ValueAxis } from "./axes";
import { largest, smallest, sum, type Value } from "./grid";
import { flat, type Layer, stack } from "./stack";

export interface ChartSeries {
  key: string;
  label: string;
  token: Token;
  edge?: Token;
  /** In `unit` of the chart, one per bucket of its grid. */
  values: readonly Value[];
}

export interface Drawn {
  layers: Layer[];
  axis: ValueAxis;
  /** The unit of the axis, chosen once for the whole chart. */
  label: string;
  by: number;
  total: Value[];
  fills: ("solid" | "soft" | "none")[];
  /** Buckets whose value is above the axis, with that value in the unit of the chart. */
  beyond: { index: number; value: number }[];
}

/** A hit ratio lives between 95 and 100: such an axis may be cut, which then is said and not filled. */
export function cutFloor(unit: string, low: number): number {
  if (unit !== "%" || !Number.isFinite(low)) return 0;
  return [99.9, 99, 95, 90, 80, 50].find((floor) => low > floor) ?? 0;
}

/** A few values that are far above all others may not set the axis: no more than one in fifty, and one of few. */
export function robustTop(columns: readonly (readonly Value[])[]): number {
  const values = columns.flatMap((column) => column.filter((value) => value !== null)).sort((a, b) => b - a);
  if (values.length < 5) return values[0] ?? 0;
  for (let k = Math.max(1, Math.floor(values.length / 50)); k > 0; k--) {
    const next = values[k] ?? 0;
    if (next > 0 && (values[k - 1] ?? 0) > 4 * next) return next;
  }
  return values[0] ?? 0;
}

/** `robust`: the axis is that of nearly all values; those beyond it are told by `beyond`, never left out in silence. */
export function drawn(series: readonly ChartSeries[], unit: string, stacked: boolean, limit: number | null, robust = false): Drawn {
  const columns = series.map((one) => one.values);
  const total = sum(columns);
  const shown = stacked ? [total] : columns;
  const top = Math.max(robust ? robustTop(shown) : largest(shown), limit ?? 0);
  const scale = scaleFor(unit, top);
  const scaled = columns.map((column) => column.map((value) => (value === null ? null : value / scale.by)));
  const floor = stacked ? 0 : cutFloor(unit, smallest(columns));
  const axis = unit === "%" && floor > 0 ? valueAxis(100, floor) : valueAxis(top / scale.by, 0);
  const layers = stacked ? stack(scaled) : flat(scaled, axis.min);
  const fills = series.map((_, i) => (axis.cut ? "none" : stacked && series.length > 1 ? "solid" : i === 0 ? "soft" : "none") as Drawn["fills"][number]);
  const highest = total.map((_, i) => Math.max(0, ...shown.map((column) => column[i] ?? 0)));
  const beyond = highest.flatMap((value, index) => (robust && value / scale.by > axis.max ? [{ index, value }] : []));
  return { layers, axis, label: scale.label, by: scale.by, total, fills, beyond };
}

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
}

/** A hit ratio lives between 95 and 100: such an axis may be cut, which then is said and not filled. */
export function cutFloor(unit: string, low: number): number {
  if (unit !== "%" || !Number.isFinite(low)) return 0;
  return [99.9, 99, 95, 90, 80, 50].find((floor) => low > floor) ?? 0;
}

export function drawn(series: readonly ChartSeries[], unit: string, stacked: boolean, limit: number | null): Drawn {
  const columns = series.map((one) => one.values);
  const total = sum(columns);
  const top = Math.max(stacked ? largest([total]) : largest(columns), limit ?? 0);
  const scale = scaleFor(unit, top);
  const scaled = columns.map((column) => column.map((value) => (value === null ? null : value / scale.by)));
  const floor = stacked ? 0 : cutFloor(unit, smallest(columns));
  const axis = unit === "%" && floor > 0 ? valueAxis(100, floor) : valueAxis(top / scale.by, 0);
  const layers = stacked ? stack(scaled) : flat(scaled, axis.min);
  const fills = series.map((_, i) => (axis.cut ? "none" : stacked && series.length > 1 ? "solid" : i === 0 ? "soft" : "none") as Drawn["fills"][number]);
  return { layers, axis, label: scale.label, by: scale.by, total, fills };
}

import { clock, clockMinute, day, offset, type Zone } from "~/time/zone";

export interface ValueAxis {
  min: number;
  max: number;
  ticks: number[];
  /** True when the axis does not start at zero: nothing may be filled down to it, and the title says so. */
  cut: boolean;
}

const multiples = [1, 2, 2.5, 5, 10];

/** Round ticks from zero (or from `floor`) to at least `largest`; an empty chart keeps an axis, and invents no numbers on it. */
export function valueAxis(largest: number, floor = 0, parts = 5): ValueAxis {
  if (largest <= floor) return { min: floor, max: floor + 1, ticks: [floor], cut: floor > 0 };
  const span = largest - floor;
  const rough = span / parts;
  const power = 10 ** Math.floor(Math.log10(rough));
  const multiple = multiples.find((m) => m * power >= rough * (1 - 1e-9)) ?? 10;
  const size = multiple * power;
  const count = Math.max(1, Math.ceil(span / size - 1e-9));
  const ticks = Array.from({ length: count + 1 }, (_, i) => Number((floor + i * size).toPrecision(12)));
  return { min: floor, max: ticks[ticks.length - 1] ?? floor + 1, ticks, cut: floor > 0 };
}

/** Tick text: as many decimals as the distance of ticks needs, all alike; long numbers in thousands or millions. */
export function tickText(axis: ValueAxis): string[] {
  const [by, tail] = axis.max >= 1e8 ? [1e6, "M"] : axis.max >= 1e5 ? [1e3, "k"] : [1, ""];
  const size = ((axis.ticks[1] ?? by) - (axis.ticks[0] ?? 0)) / by;
  let digits = 0;
  while (digits < 9 && Math.abs(size * 10 ** digits - Math.round(size * 10 ** digits)) > 1e-6) digits++;
  return axis.ticks.map((tick) => (tick === 0 ? "0" : `${(tick / by).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}${tail}`));
}

const timeSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/** Ticks on round times of the zone, about one per 56 px. */
export function timeTicks(from: number, to: number, width: number, zone: Zone): number[] {
  const rough = (to - from) / Math.max(2, width / 56);
  const step = timeSteps.find((size) => size >= rough) ?? 1_209_600;
  const shift = offset(from, zone) * 60;
  const first = Math.ceil((from + shift) / step) * step - shift;
  const ticks: number[] = [];
  // A label that would stick out at the right is left out.
  const last = to - ((to - from) / Math.max(1, width)) * 14;
  for (let at = first; at <= last; at += step) ticks.push(at);
  return ticks;
}

export function timeText(ticks: readonly number[], zone: Zone): string[] {
  const step = (ticks[1] ?? 0) - (ticks[0] ?? 0);
  return ticks.map((at) => {
    if (step >= 86_400) return day(at, zone);
    if (step >= 60) {
      const text = clockMinute(at, zone);
      return text === "00:00" && step >= 600 ? day(at, zone) : text;
    }
    return clock(at, zone);
  });
}

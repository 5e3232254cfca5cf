// The time range of a page: what the URL holds, what it means now, and how it moves. All times are
// Unix seconds of whole steps, so that panels agree with each other and query keys repeat.

export interface Range {
  /** Relative: a span that ends now. Absolute: from < to. */
  from: number | null;
  to: number | null;
  /** Seconds; for a relative range the only thing that is kept. */
  span: number;
}

export interface Resolved {
  from: number;
  to: number;
  /** Width of a bucket in seconds. */
  step: number;
  live: boolean;
}

export const defaultSpan = 3600;
const starts = [60, 300, 900] as const;

/**
 * The span of a URL without a range: an hour. While watching is younger than a quarter of one, it is the
 * shortest preset that holds all data and a few readings, because an hour would be an empty chart with a
 * sliver at its end. `since`: when the first reading was, null before it.
 */
export function spanOf(since: number | null, now: number, interval: number): number {
  const needed = Math.max(since === null ? 0 : now - since, 5 * interval);
  return starts.find((size) => size >= needed) ?? defaultSpan;
}
export const presets = [
  [60, "1 minute"], [300, "5 minutes"], [900, "15 minutes"], [1800, "30 minutes"], [3600, "1 hour"], [10_800, "3 hours"], [21_600, "6 hours"],
  [43_200, "12 hours"], [86_400, "1 day"], [172_800, "2 days"], [604_800, "7 days"], [1_209_600, "14 days"],
] as const;

export const shortest = 60;
export const longest = 90 * 86_400;
const maxPoints = 400;
const steps = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400] as const;
const units: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

export function relative(span: number): Range {
  return { from: null, to: null, span: clamp(span) };
}

export function absolute(from: number, to: number): Range {
  const span = clamp(to - from);
  return { from: Math.round(from), to: Math.round(from + span), span };
}

function clamp(span: number): number {
  return Math.min(longest, Math.max(shortest, Math.round(span)));
}

/** Reads the URL. Whatever is not a range is the default: a link never breaks the page. */
export function parseRange(from: unknown, to: unknown, fallback = defaultSpan): Range {
  const text = from === undefined ? "" : String(from);
  const match = /^now-(\d{1,7})([smhdw])$/.exec(text);
  if (match !== null) {
    const span = Number(match[1]) * (units[match[2] ?? ""] ?? 0);
    return relative(span > 0 ? span : fallback);
  }
  const start = parseTime(from);
  const end = parseTime(to);
  return start !== null && end !== null && start < end ? absolute(start, end) : relative(fallback);
}

function parseTime(value: unknown): number | null {
  if (typeof value === "number") return Number.isFinite(value) && value > 0 ? value : null;
  if (typeof value !== "string" || value === "") return null;
  if (/^\d{1,12}(\.\d+)?$/.test(value)) return Number(value);
  const parsed = Date.parse(value);
  return Number.isNaN(parsed) ? null : parsed / 1000;
}

/**
 * What the URL holds; the default range is left out. A span that is the default only for the first minutes
 * is written: who chose it keeps it.
 */
export function rangeSearch(range: Range, fallback = defaultSpan): { from?: string; to?: string } {
  if (range.from === null || range.to === null) {
    return range.span === defaultSpan && fallback === defaultSpan ? {} : { from: `now-${spanCode(range.span)}` };
  }
  return { from: isoSeconds(range.from), to: isoSeconds(range.to) };
}

export function isoSeconds(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(/\.000Z$/, "Z");
}

function spanCode(span: number): string {
  for (const [unit, size] of [["d", 86_400], ["h", 3600], ["m", 60]] as const) {
    if (span % size === 0) return `${span / size}${unit}`;
  }
  return `${span}s`;
}

/** The smallest round step that is no finer than the interval and gives at most `points` buckets. */
export function stepFor(span: number, interval: number, points = maxPoints): number {
  const least = Math.max(interval, span / points, 1);
  for (const step of steps) {
    if (step >= least && (interval <= 1 || step % interval === 0 || step >= interval * 10)) return step;
  }
  return Math.ceil(least / 86_400) * 86_400;
}

/** `now` in seconds; both ends fall on whole steps, the end after now so that the newest bucket is in. */
export function resolve(range: Range, now: number, interval: number): Resolved {
  const step = stepFor(range.span, interval);
  if (range.from !== null && range.to !== null) {
    return { from: Math.floor(range.from / step) * step, to: Math.ceil(range.to / step) * step, step, live: false };
  }
  const to = Math.ceil(now / step) * step;
  return { from: to - Math.ceil(range.span / step) * step, to, step, live: true };
}

/** Moves by half a span; never past now, where the range becomes live again. */
export function shift(range: Range, direction: -1 | 1, now: number): Range {
  const half = Math.round(range.span / 2) * direction;
  const to = (range.to ?? now) + half;
  return to >= now ? relative(range.span) : absolute(to - range.span, to);
}

/** Doubles or halves the span about its middle; a live range stays live. */
export function zoom(range: Range, direction: "in" | "out", now: number): Range {
  const span = clamp(direction === "out" ? range.span * 2 : range.span / 2);
  if (range.from === null || range.to === null) return relative(niceSpan(span, direction));
  const middle = (range.from + range.to) / 2;
  const to = Math.min(middle + span / 2, now);
  return absolute(to - span, to);
}

/** A live range walks along the presets, so that its name stays readable. */
function niceSpan(span: number, direction: "in" | "out"): number {
  const spans = presets.map(([size]) => size as number);
  const fits = direction === "out" ? spans.find((size) => size >= span) : spans.toReversed().find((size) => size <= span);
  return fits ?? span;
}

/** For a button: 15 min, 6 h, 7 d. */
export function shortName(span: number): string {
  const code = spanCode(span);
  return `${code.slice(0, -1)} ${code.endsWith("m") ? "min" : code.slice(-1)}`;
}

export function rangeName(range: Range): string {
  if (range.from !== null) return "";
  const preset = presets.find(([size]) => size === range.span);
  if (preset !== undefined) return `Last ${preset[1]}`;
  const code = spanCode(range.span);
  const word = { d: "days", h: "hours", m: "minutes", s: "seconds" }[code.slice(-1)] ?? "";
  return `Last ${code.slice(0, -1)} ${word}`;
}

import type { Grid, Point, Value } from "~/chart/grid";
import { onGrid, ratio, sum } from "~/chart/grid";
import type { Loss } from "~/chart/gaps";
import type { ChartSeries } from "~/chart/model";
import { type Family, families, type Line, type Panel } from "~/gen/catalog";
import { type Token, waits, waitToken } from "~/theme/palette";

// From the catalog's panels to requests and to what a chart draws; pure.

export interface Placed {
  family: Family;
  panel: Panel;
}

/** Sessions first, then transactions, WAL and the rest in the catalog's order; our own cost is last. */
const order = ["activity", "database", "wal", "tables", "statements"];

export function panels(list: readonly Family[] = families): Placed[] {
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : name === "collector" ? 99 : 50);
  return list.toSorted((a, b) => rank(a.name) - rank(b.name)).flatMap((family) => family.panels.map((panel) => ({ family, panel })));
}

/** Parameters of the series that a panel needs, one per line. */
export function requests({ family, panel }: Placed): Record<string, string>[] {
  const fn = panel.fn === "ratio" ? "rate" : panel.fn;
  return panel.of.map((line) => ({ family: family.name, column: line.column, fn, ...(panel.by === undefined || panel.by === "" ? {} : { by: panel.by }), ...line.where }));
}

export function unitOf(panel: Panel): string {
  if (panel.fn === "ratio") return "%";
  return panel.fn === "rate" ? `${panel.unit === "count" ? "" : panel.unit}/s` : panel.unit;
}

export interface Answer {
  grid: Grid;
  series: { labels: Record<string, string>; points: readonly (readonly (number | null)[])[] }[];
  gaps?: { from: number; to: number; outcome: string; reason: string; detail?: string; ticks?: number }[];
}

const meaning: Record<string, [Token, Token?]> = {
  active: ["wait-cpu"], "idle in xact": ["wait-timeout"], aborted: ["wait-lock"], idle: ["idle", "idle-edge"], rollbacks: ["wait-lock"], deleted: ["wait-timeout"],
};
const plain: Token[] = ["data", "data-2", "wait-timeout", "data-3"];

function token(line: Line, index: number): [Token, Token?] {
  return meaning[line.label] ?? [plain[index % plain.length] ?? "data"];
}

/** The series of a chart, bottom first; empty until every answer is there. All answers lie on one grid. */
export function chartSeries(panel: Panel, answers: readonly Answer[]): ChartSeries[] {
  const first = answers[0];
  if (first === undefined || answers.length < panel.of.length) return [];
  const columns = answers.map((answer) => sum(answer.series.map((one) => onGrid(one.points as unknown as Point[], answer.grid))));
  if (panel.fn === "ratio") {
    const head = panel.of[0];
    const part = columns[0];
    if (head === undefined || part === undefined) return [];
    return [{ key: head.column, label: head.label, token: "data", values: ratio(part, sum(columns)).map((value) => (value === null ? null : value * 100)) }];
  }
  if (panel.by !== undefined && panel.by !== "") return split(panel.by, first);
  return panel.of.map((line, i) => {
    const [colour, edge] = token(line, i);
    return { key: `${line.column} ${line.label}`, label: line.label === "" ? line.column : line.label, token: colour, edge, values: fill(columns[i] ?? [], first.grid) };
  });
}

/**
 * Whether there was a sample, where the drawn values may be missing for another reason: a ratio of nothing is
 * no gap. Undefined where the values themselves tell it.
 */
export function presenceOf(panel: Panel, answers: readonly Answer[]): Value[] | undefined {
  if (panel.fn !== "ratio" || answers.length < panel.of.length) return undefined;
  return sum(answers.flatMap((answer) => answer.series.map((one) => onGrid(one.points as unknown as Point[], answer.grid))));
}

function fill(column: readonly Value[], grid: Grid): readonly Value[] {
  return column.length > 0 ? column : onGrid([], grid);
}

/** One series per value of a key; waits in their fixed order, where no wait is CPU. */
function split(by: string, answer: Answer): ChartSeries[] {
  const found = answer.series.map((one) => {
    const raw = one.labels[by] ?? "";
    const name = by === "wait_event_type" ? (raw === "" ? "CPU" : raw) : raw === "" ? "none" : raw;
    return { name, values: onGrid(one.points as unknown as Point[], answer.grid) };
  });
  const merged = new Map<string, readonly Value[]>();
  for (const { name, values } of found) merged.set(name, sum([merged.get(name) ?? [], values]));
  if (by === "wait_event_type") {
    const place = (name: string) => {
      const at = (waits as readonly string[]).indexOf(name);
      return at < 0 ? waits.length : at;
    };
    return [...merged].sort(([a], [b]) => place(a) - place(b)).map(([name, values]) => ({ key: name, label: name, token: waitToken(name), values }));
  }
  return [...merged].map(([name, values], i) => ({ key: name, label: name, token: plain[i % plain.length] ?? "data", values }));
}

/** Gaps of a panel: those of its first answer, since its lines come from one family. */
export function losses(answers: readonly Answer[]): Loss[] {
  return (answers[0]?.gaps ?? []).map((gap) => ({ from: gap.from, to: gap.to, outcome: gap.outcome, reason: gap.detail === undefined || gap.detail === "" ? gap.reason : `${gap.reason}: ${gap.detail}`, ticks: gap.ticks }));
}

/** max_connections belongs over the sessions, unless it would flatten them to nothing. */
export function limitOf({ family, panel }: Placed, max: number | undefined, top: number): { value: number; label: string } | null {
  if (family.name !== "activity" || panel.by !== undefined || max === undefined) return null;
  return top * 5 >= max ? { value: max, label: `max_connections ${max}` } : null;
}

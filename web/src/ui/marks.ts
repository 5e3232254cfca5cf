import type { Event } from "~/api/types";
import type { Mark } from "~/chart/draw";

/** Changes are marks in every chart's top lane; gaps are drawn as hatches and need none. */
export function marksOf(events: readonly Event[]): Mark[] {
  const changes = events.filter((event) => event.kind === "setting" || event.kind === "restart" || event.kind === "promotion" || event.kind === "incarnation");
  const byTime = new Map<number, string[]>();
  for (const event of changes.toReversed()) byTime.set(event.time, [...(byTime.get(event.time) ?? []), event.what.replace(/^setting:? /, "")]);
  return [...byTime].map(([at, what]) => ({ at, label: what.length > 2 ? `${what[0]} and ${what.length - 1} more` : what.join(", ") })).sort((a, b) => a.at - b.at);
}

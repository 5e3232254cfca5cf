import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";
import { seriesQuery } from "~/api/queries";
import type { InstanceDetail } from "~/api/types";
import { useKept } from "~/api/useKept";
import { Chart } from "~/chart/Chart";
import type { Mark } from "~/chart/draw";
import { largest, onGrid, sum } from "~/chart/grid";
import { stepFor } from "~/time/range";
import { type Answer, chartSeries, limitOf, losses, type Placed, presenceOf, requests, unitOf } from "./model";

interface Props {
  placed: Placed;
  instance: InstanceDetail;
  window: { from: number; to: number; step: number };
  marks: Mark[];
  markLabels: boolean;
}

/** One panel of the catalog. Old data stays, on its own axis, until the new is there. */
export function PanelChart({ placed, instance, window, marks, markLabels }: Props) {
  const { family, panel } = placed;
  const interval = instance.interval ?? 60;
  const step = family.lane === "fast" ? stepFor(window.to - window.from, Math.min(10, interval)) : window.step;
  const wanted = useMemo(() => requests(placed), [placed]);
  const queries = useQueries({ queries: wanted.map((what) => seriesQuery(instance.id, window, step, what)) });
  const answers = queries.flatMap((query) => (query.data === undefined ? [] : [query.data as unknown as Answer]));
  // A chart is drawn from answers on one grid; while they come in one by one, it keeps the last whole set.
  const whole = answers.length === wanted.length && answers.every((one) => one.grid.from === answers[0]?.grid.from && one.grid.step === answers[0]?.grid.step);
  const stamp = queries.map((query) => query.dataUpdatedAt).join(" ");
  const fresh = useMemo(
    () => (whole ? { grid: answers[0]?.grid ?? { ...window, step }, series: chartSeries(panel, answers), losses: losses(answers), presence: presenceOf(panel, answers) } : undefined),
    // Answers change exactly when one of their times does.
    // oxlint-disable-next-line react/exhaustive-deps
    [whole, stamp, panel],
  );
  const view = useKept(fresh, "") ?? null;
  const failed = queries.find((query) => query.isError);
  const plans = instance.families.filter((one) => one.family === family.name);
  const unplanned = plans.length > 0 && plans.every((one) => !one.planned) ? plans[0] : undefined;
  const empty = useMemo(() => ({ grid: { from: window.from, to: window.to, step }, series: panel.of.map((line) => ({ key: line.column + line.label, label: line.label || line.column, token: "data" as const, values: onGrid([], { ...window, step }) })), losses: [], presence: undefined }), [window, step, panel]);
  const shown = view === null || view.series.length === 0 ? empty : view;
  const top = useMemo(() => (panel.stack ? largest([sum(shown.series.map((one) => one.values))]) : largest(shown.series.map((one) => one.values))), [shown, panel.stack]);
  const limit = useMemo(() => limitOf(placed, instance.max_connections, top), [placed, instance.max_connections, top]);
  const note = unplanned !== undefined ? `not read: ${unplanned.reason ?? "not planned"}` : failed !== undefined && view === null ? `not read: ${failed.error?.message ?? ""}` : view === null ? "reading" : view.series.length === 0 && (instance.newest_data ?? 0) > window.from ? "no such session in this range" : undefined;
  return (
    <Chart
      title={panel.title}
      doc={panel.doc}
      unit={unitOf(panel)}
      grid={shown.grid}
      series={shown.series}
      stacked={panel.stack}
      // The first frame of a collector is short and holds its connecting: true, and no scale for the rest.
      robust={family.name === "collector"}
      limit={limit}
      marks={marks}
      markLabels={markLabels}
      losses={shown.losses}
      since={instance.first_seen ?? null}
      // Of a server that is known to be away no late reading is waited for.
      patience={instance.status === "up" ? 3 * Math.max(interval, step) : 0}
      presence={shown.presence}
      stale={failed !== undefined && view !== null}
      note={note}
    />
  );
}

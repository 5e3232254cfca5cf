import "uplot/dist/uPlot.min.css";
import { useEffect, useLayoutEffect, useRef } from "react";
import uPlot from "uplot";
import type { Palette, Token } from "~/theme/palette";
import type { Zone } from "~/time/zone";
import { phone } from "~/ui/phone";
import { timeText, timeTicks, tickText, type ValueAxis } from "./axes";
import { crosshairKey } from "./crosshair";
import { type Beyond, drawBeyond, drawGaps, drawLimit, drawMarks, type Mark, stepPaths } from "./draw";
import type { Gap } from "./gaps";
import { type Grid, times } from "./grid";
import type { Layer } from "./stack";

export interface PlotSeries {
  key: string;
  token: Token;
  /** Colour of the upper edge, where it differs from the area's. */
  edge?: Token;
  fill: "solid" | "soft" | "none";
}

export interface PlotModel {
  grid: Grid;
  layers: Layer[];
  axis: ValueAxis;
  gaps: Gap[];
  marks: Mark[];
  beyond: Beyond[];
  limit: { value: number; label: string } | null;
  palette: Palette;
  zone: Zone;
}

interface Props {
  series: PlotSeries[];
  model: PlotModel;
  width: number;
  height: number;
  onMove: (at: number | null, left: number, local: boolean) => void;
  onSelect: (from: number, to: number) => void;
  onReady: (plot: uPlot | null) => void;
}

const axisFont = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

/** The only owner of uPlot: made anew when its series or colours change, else fed with new data. */
export function Plot({ series, model, width, height, onMove, onSelect, onReady }: Props) {
  const host = useRef<HTMLDivElement | null>(null);
  const plot = useRef<uPlot | null>(null);
  const live = useRef({ series, model, onMove, onSelect, onReady });
  useLayoutEffect(() => {
    live.current = { series, model, onMove, onSelect, onReady };
  });
  const shape = series.map((one) => `${one.key}:${one.token}:${one.edge ?? ""}:${one.fill}`).join("|");

  useLayoutEffect(() => {
    const element = host.current;
    if (element === null || width === 0) return undefined;
    const now = () => live.current.model;
    const color = (token: Token) => () => now().palette[token];
    let inside = false;
    const made = new uPlot(
      {
        width,
        height,
        pxAlign: 1,
        padding: [18, 10, 0, 0],
        legend: { show: false },
        cursor: {
          sync: { key: crosshairKey, scales: ["x", null], filters: { pub: (type) => type !== "mousedown" && type !== "mouseup", sub: () => true } },
          // On a phone a touch scrolls: ranges are chosen by buttons.
          drag: { x: !matchMedia(phone).matches, y: false, setScale: false, dist: 6 },
          y: false,
          points: { show: false },
        },
        select: { show: true, left: 0, top: 0, width: 0, height: 0 },
        scales: {
          x: { time: false, range: () => [now().grid.from, now().grid.to] },
          y: { range: () => [now().axis.min, now().axis.max] },
        },
        axes: [
          {
            stroke: color("dim"), font: axisFont, size: 22, gap: 5,
            grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, border: { show: true, stroke: color("line"), width: 1 },
            splits: (u) => timeTicks(now().grid.from, now().grid.to, u.bbox.width / uPlot.pxRatio, now().zone),
            values: (_u, splits) => timeText(splits, now().zone),
          },
          {
            stroke: color("dim"), font: axisFont, size: 44, gap: 6,
            grid: { stroke: color("grid"), width: 1 }, ticks: { show: false },
            splits: () => now().axis.ticks,
            values: () => tickText(now().axis),
          },
        ],
        series: [
          {},
          ...live.current.series.map((one, i) => ({
            stroke: one.fill === "solid" && one.edge === undefined ? undefined : color(one.edge ?? one.token),
            fill: one.fill === "none" ? undefined : () => (one.fill === "solid" ? now().palette[one.token] : `${now().palette[one.token]}33`),
            width: 1.25,
            points: { show: false },
            paths: stepPaths(() => now().layers[i], () => now().grid.step, one.fill !== "none"),
          })),
        ],
        hooks: {
          drawAxes: [(u) => drawGaps(u, now().gaps, now().palette, ["gap", "before"], uPlot.pxRatio)],
          draw: [
            (u) => {
              drawGaps(u, now().gaps, now().palette, ["bridged"], uPlot.pxRatio);
              const { limit } = now();
              if (limit !== null) drawLimit(u, limit, now().palette, uPlot.pxRatio);
              drawBeyond(u, now().beyond, now().palette, uPlot.pxRatio);
              drawMarks(u, now().marks, now().palette, uPlot.pxRatio);
            },
          ],
          setCursor: [
            (u) => {
              const left = u.cursor.left ?? -1;
              live.current.onMove(left < 0 ? null : u.posToVal(left, "x"), left, inside);
            },
          ],
          setSelect: [
            (u) => {
              if (u.select.width > 0) {
                live.current.onSelect(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
                u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              }
            },
          ],
        },
      },
      toData(now()),
      element,
    );
    const enter = () => { inside = true; };
    const leave = () => { inside = false; };
    made.over.addEventListener("mouseenter", enter);
    made.over.addEventListener("mouseleave", leave);
    plot.current = made;
    live.current.onReady(made);
    return () => {
      live.current.onReady(null);
      made.destroy();
      plot.current = null;
    };
    // Width and height are followed below without a new plot.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [shape, model.palette, width === 0]);

  useEffect(() => {
    if (width > 0) plot.current?.setSize({ width, height });
  }, [width, height]);
  useEffect(() => {
    plot.current?.setData(toData(model));
    // A scale that stays the same would keep the ticks of the chart before.
    plot.current?.redraw(false, true);
  }, [model]);

  return <div ref={host} style={{ height }} aria-hidden="true" />;
}

function toData(model: PlotModel): uPlot.AlignedData {
  return [times(model.grid), ...model.layers.map((layer) => layer.top)];
}

import type uPlot from "uplot";
import type { Palette } from "~/theme/palette";
import type { Gap } from "./gaps";
import type { Layer } from "./stack";

// Everything that is painted on the canvas by us; uPlot gives scales, axes and the cursor.

export interface Mark {
  at: number;
  label: string;
}

/** Steps: a value fills its bucket from start to end. Areas are drawn between base and top. */
export function stepPaths(layer: () => Layer | undefined, step: () => number, filled: boolean): uPlot.Series.PathBuilder {
  return (u, seriesIndex) => {
    const stroke = new Path2D();
    const fill = new Path2D();
    const xs = u.data[0];
    const { base = [], top = [] } = layer() ?? {};
    let run: { x0: number; x1: number; y: number; under: number }[] = [];
    const flush = () => {
      const first = run[0];
      if (first === undefined) return;
      stroke.moveTo(first.x0, first.y);
      fill.moveTo(first.x0, first.under);
      for (const { x0, x1, y } of run) {
        stroke.lineTo(x0, y);
        stroke.lineTo(x1, y);
        fill.lineTo(x0, y);
        fill.lineTo(x1, y);
      }
      for (const { x0, x1, under } of run.toReversed()) {
        fill.lineTo(x1, under);
        fill.lineTo(x0, under);
      }
      fill.closePath();
      run = [];
    };
    const scale = u.series[seriesIndex]?.scale ?? "y";
    for (let i = 0; i < xs.length; i++) {
      const y = top[i] ?? null;
      const under = base[i] ?? null;
      const at = xs[i] ?? 0;
      if (y === null || under === null) {
        flush();
        continue;
      }
      run.push({
        x0: Math.round(u.valToPos(at, "x", true)),
        x1: Math.round(u.valToPos(at + step(), "x", true)),
        y: u.valToPos(y, scale, true),
        under: u.valToPos(under, scale, true),
      });
    }
    flush();
    return { stroke, fill: filled ? fill : null, clip: null, flags: 1 };
  };
}

const patterns = new Map<string, CanvasPattern | null>();

function hatch(ctx: CanvasRenderingContext2D, color: string, ratio: number): CanvasPattern | null {
  const key = `${color} ${ratio}`;
  const known = patterns.get(key);
  if (known !== undefined) return known;
  const size = Math.round(6 * ratio);
  const tile = document.createElement("canvas");
  tile.width = size;
  tile.height = size;
  const pen = tile.getContext("2d");
  if (pen === null) return null;
  pen.strokeStyle = color;
  pen.lineWidth = ratio;
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift - ratio, size + ratio);
    pen.lineTo(shift + size + ratio, -ratio);
  }
  pen.stroke();
  const pattern = ctx.createPattern(tile, "repeat");
  patterns.set(key, pattern);
  return pattern;
}

/** Gaps are hatched; a bridged one lightly, over the data that spans it. */
export function drawGaps(u: uPlot, gaps: readonly Gap[], palette: Palette, kinds: readonly Gap["kind"][], ratio: number): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const gap of gaps) {
    if (!kinds.includes(gap.kind)) continue;
    const x0 = Math.round(u.valToPos(gap.from, "x", true));
    const x1 = Math.round(u.valToPos(gap.to, "x", true));
    const color = gap.kind === "bridged" ? palette["hatch-light"] : palette.hatch;
    ctx.fillStyle = hatch(ctx, color, ratio) ?? color;
    ctx.fillRect(x0, bbox.top, Math.max(1, x1 - x0), bbox.height);
    if (gap.kind === "before") continue;
    ctx.strokeStyle = palette["idle-edge"];
    ctx.lineWidth = ratio;
    ctx.globalAlpha = 0.7;
    ctx.beginPath();
    for (const x of [x0, x1]) {
      ctx.moveTo(x + ratio / 2, bbox.top);
      ctx.lineTo(x + ratio / 2, bbox.top + bbox.height);
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
  ctx.restore();
}

/** Marks: a diamond in the lane above the plot and a dotted line through it. */
export function drawMarks(u: uPlot, marks: readonly Mark[], palette: Palette, ratio: number): void {
  const { ctx, bbox } = u;
  ctx.save();
  for (const mark of marks) {
    const x = Math.round(u.valToPos(mark.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = palette.text;
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 2 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x + ratio / 2, bbox.top);
    ctx.lineTo(x + ratio / 2, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillStyle = palette.text;
    const r = 4 * ratio;
    const y = bbox.top - 7 * ratio;
    ctx.beginPath();
    ctx.moveTo(x, y - r);
    ctx.lineTo(x + r, y);
    ctx.lineTo(x, y + r);
    ctx.lineTo(x - r, y);
    ctx.fill();
  }
  ctx.restore();
}

export interface Beyond {
  at: number;
  text: string;
}

/** A triangle at the top where a value goes on above the axis, with the value where there is room for it. */
export function drawBeyond(u: uPlot, points: readonly Beyond[], palette: Palette, ratio: number): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  let free = bbox.left;
  for (const point of points) {
    const x = Math.round(u.valToPos(point.at, "x", true));
    const y = bbox.top + 2 * ratio;
    ctx.fillStyle = palette.text;
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(x + 4 * ratio, y + 6 * ratio);
    ctx.lineTo(x - 4 * ratio, y + 6 * ratio);
    ctx.fill();
    const width = ctx.measureText(point.text).width;
    const right = x + 8 * ratio + width <= bbox.left + bbox.width;
    const left = right ? x + 8 * ratio : x - 8 * ratio - width;
    if (left < free) continue;
    ctx.fillText(point.text, left, y);
    free = left + width + 8 * ratio;
  }
  ctx.restore();
}

/** A dashed line with its name, such as max_connections. */
export function drawLimit(u: uPlot, limit: { value: number; label: string }, palette: Palette, ratio: number): void {
  const { ctx, bbox } = u;
  const y = Math.round(u.valToPos(limit.value, "y", true));
  if (y < bbox.top - 1 || y > bbox.top + bbox.height) return;
  ctx.save();
  ctx.strokeStyle = palette.dim;
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 3 * ratio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y + ratio / 2);
  ctx.lineTo(bbox.left + bbox.width, y + ratio / 2);
  ctx.stroke();
  ctx.fillStyle = palette.dim;
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  ctx.fillText(limit.label, bbox.left + 4 * ratio, y + 4 * ratio);
  ctx.restore();
}

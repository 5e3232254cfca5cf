import { useCallback, useMemo, useRef, useState } from "react";
import type uPlot from "uplot";
import { exactValue, value as withUnit } from "~/format/unit";
import type { Maybe } from "~/format/number";
import { usePalette } from "~/theme/usePalette";
import { moment } from "~/time/zone";
import { useTime } from "~/time/TimeProvider";
import { AsTable } from "./AsTable";
import styles from "./chart.module.css";
import { setCrosshair, useCrosshair } from "./crosshair";
import type { Mark } from "./draw";
import { findGaps, type Gap, gapAt, type Loss } from "./gaps";
import { type Grid, indexAt, lastValue, mean, type Value } from "./grid";
import { Legend } from "./Legend";
import { type ChartSeries, drawn } from "./model";
import { Plot, type PlotModel } from "./Plot";
import { GapTip, Tooltip } from "./Tooltip";

interface Props {
  title: string;
  doc?: string;
  /** As the API names it, with "/s" for a rate. */
  unit: string;
  grid: Grid;
  series: ChartSeries[];
  stacked?: boolean;
  /** One value far above all others does not set the axis, but is marked. */
  robust?: boolean;
  limit?: { value: number; label: string } | null;
  marks?: Mark[];
  /** Marks are everywhere; their words only where there is one chart to read them in. */
  markLabels?: boolean;
  losses?: Loss[];
  /** When watching began, if within the range. */
  since?: number | null;
  /** Seconds that the newest buckets may be empty before they are a gap. */
  patience?: number;
  stale?: boolean;
  height?: number;
  /** Instead of the legend, for a chart of one series whose mean matters. */
  meanOnly?: boolean;
  /** Shown in the empty plot. */
  note?: string;
  /** What tells whether there was a sample, where the drawn values may be absent for another reason (a mean of no calls). */
  presence?: readonly Value[];
  aside?: { label: string; values: readonly Value[]; unit: string }[];
}

const none: never[] = [];

export function Chart(props: Props) {
  const { title, doc, unit, grid, series, stacked = false, robust = false, limit = null, marks = none, losses = none, since = null, patience = 30, stale = false, height = 196 } = props;
  const palette = usePalette();
  const { zone, now, setAbsolute } = useTime();
  const at = useCrosshair();
  const plot = useRef<uPlot | null>(null);
  const [width, setWidth] = useState(0);
  const [hover, setHover] = useState<{ at: number; left: number } | null>(null);
  const [pinned, setPinned] = useState<{ gap: Gap; left: number } | null>(null);
  const [off, setOff] = useState<readonly string[]>(none);
  const [asTable, setAsTable] = useState(false);
  const measure = useCallback((element: HTMLDivElement | null) => {
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const shown = useMemo(() => series.filter((one) => !off.includes(one.key)), [series, off]);
  const view = useMemo(() => drawn(shown, unit, stacked, limit?.value ?? null, robust), [shown, unit, stacked, limit, robust]);
  const present = props.presence ?? view.total;
  const gaps = useMemo(() => findGaps({ grid, total: present, losses, now, patience, since }), [grid, present, losses, now, patience, since]);
  const beyond = useMemo(() => view.beyond.map(({ index: i, value }) => ({ at: grid.from + (i + 0.5) * grid.step, text: withUnit(value, unit) })), [view, grid, unit]);
  const model = useMemo<PlotModel>(
    () => ({ grid, layers: view.layers, axis: view.axis, gaps, marks, beyond, limit: limit === null ? null : { value: limit.value / view.by, label: limit.label }, palette, zone }),
    [grid, view, gaps, marks, beyond, limit, palette, zone],
  );

  const index = at === null ? null : indexAt(at, grid);
  const read = (values: readonly Value[]): Value => (index === null ? lastValue(values) : (values[index] ?? null));
  const onMove = useCallback((moment: number | null, left: number, local: boolean) => {
    setHover(local && moment !== null ? { at: moment, left: left + 44 } : null);
    setCrosshair(moment);
  }, []);
  const hovered = hover === null ? null : gapAt(gaps, hover.at);
  const hoverIndex = hover === null ? null : indexAt(hover.at, grid);
  const whole = !unit.endsWith("/s") && unit !== "%";
  const heading = `${title}${view.label === "" ? "" : `, ${view.label}`}${view.axis.cut ? `, axis from ${view.axis.min}` : ""}${beyond.length > 0 ? `, ${beyond.length} beyond the axis` : ""}`;
  const single = series.length === 1 ? series[0] : undefined;

  function step(event: React.KeyboardEvent) {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    const u = plot.current;
    if (u === null) return;
    if (event.key === "Escape") return u.setCursor({ left: -10, top: -10 });
    const count = Math.round((grid.to - grid.from) / grid.step);
    const target = event.key === "Home" ? 0 : event.key === "End" ? count - 1 : move === undefined ? null : Math.min(count - 1, Math.max(0, (index ?? count - 1) + move));
    if (target === null) return;
    event.preventDefault();
    u.setCursor({ left: u.valToPos(grid.from + (target + 0.5) * grid.step, "x"), top: 0 });
  }

  const stepText = `${at === null ? "newest" : moment(at, zone, now)}: ${series.map((one) => `${one.label} ${withUnit(read(one.values), unit)}`).join(", ")}`;
  return (
    <section className={styles["chart"]} data-stale={stale || undefined} aria-label={heading}>
      <div className={styles["head"]}>
        <h3 title={doc}>{title}<span>{heading.slice(title.length)}</span></h3>
        <span className={styles["fill"]} />
        <button type="button" className={styles["asTable"]} aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>as table</button>
        {props.meanOnly === true && single !== undefined && (
          <span className={styles["mean"]}>{at === null ? "mean" : moment(at, zone, now)} <b>{withUnit(at === null ? mean(single.values) : read(single.values), unit)}</b></span>
        )}
      </div>
      {props.meanOnly !== true && (
        <Legend
          by={view.by}
          whole={whole && view.by === 1}
          onToggle={(key) => setOff(off.includes(key) ? off.filter((one) => one !== key) : off.length + 1 < series.length ? [...off, key] : none)}
          entries={series.map((one) => ({
            key: one.key, label: one.label, color: `var(--${one.token})`, value: read(one.values), exact: exactValue(read(one.values), unit), off: off.includes(one.key),
          }))}
          aside={props.aside?.map((one) => ({ label: one.label, value: read(one.values) as Maybe, unit: one.unit }))}
        />
      )}
      {asTable ? (
        <AsTable title={title} unit={unit} grid={grid} now={now} zone={zone} height={height} columns={series} />
      ) : (
        // The pointer is only a second way to what the slider does by keyboard.
        // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-static-element-interactions
        <div className={styles["body"]} ref={measure} onClick={() => hovered !== null && hover !== null && setPinned({ gap: hovered, left: hover.left })}>
          <Plot
            series={shown.map((one, i) => ({ key: one.key, token: one.token, edge: one.edge, fill: view.fills[i] ?? "none" }))}
            model={model}
            width={width}
            height={height}
            onMove={onMove}
            onSelect={setAbsolute}
            onReady={(made) => { plot.current = made; }}
          />
          <div
            className={styles["slider"]}
            role="slider"
            tabIndex={0}
            aria-label={`Crosshair of ${title}`}
            aria-valuemin={grid.from}
            aria-valuemax={grid.to}
            aria-valuenow={at ?? grid.to}
            aria-valuetext={stepText}
            onKeyDown={step}
          />
          {props.note !== undefined && <div className={styles["empty"]}><span>{props.note}</span></div>}
          {width > 0 && props.markLabels !== false && marks.map((mark, i) => <MarkText key={`${mark.at} ${mark.label}`} mark={mark} next={marks[i + 1]} previous={marks[i - 1]} grid={grid} width={width} />)}
          {hover !== null && pinned === null && hovered !== null && hovered.kind !== "bridged" && (
            <GapTip gap={hovered} now={now} zone={zone} left={hover.left} width={width} pinned={false} onClose={() => undefined} />
          )}
          {hover !== null && pinned === null && hoverIndex !== null && (hovered === null || hovered.kind === "bridged") && (view.total[hoverIndex] ?? null) !== null && (
            <Tooltip
              at={hover.at}
              now={now}
              bucket={[grid.from + hoverIndex * grid.step, grid.from + (hoverIndex + 1) * grid.step]}
              zone={zone}
              rows={shown.map((one) => ({ key: one.key, label: one.label, color: `var(--${one.token})`, value: one.values[hoverIndex] ?? null })).toReversed()}
              total={stacked && shown.length > 1 ? view.total[hoverIndex] : undefined}
              unit={view.label}
              by={view.by}
              left={hover.left}
              width={width}
            />
          )}
          {pinned !== null && <GapTip gap={pinned.gap} now={now} zone={zone} left={pinned.left} width={width} pinned onClose={() => setPinned(null)} />}
          {hover !== null && <div className={styles["now"]} style={{ left: Math.min(hover.left, width - 30) }}>{moment(hover.at, zone, now)}</div>}
        </div>
      )}
    </section>
  );
}

function MarkText({ mark, next, previous, grid, width }: { mark: Mark; next: Mark | undefined; previous: Mark | undefined; grid: Grid; width: number }) {
  const place = (at: number) => 44 + ((at - grid.from) / (grid.to - grid.from)) * (width - 54);
  const left = place(mark.at);
  if (left < 44 || left > width) return null;
  // At the right edge the words stand on the other side of the diamond, if they have room there.
  const flips = (at: number, before: Mark | undefined) => width - place(at) < 90 && place(at) - (before === undefined ? 44 : place(before.at)) > 200;
  if (next === undefined && flips(mark.at, previous)) return <span className={styles["markText"]} style={{ right: width - left + 8, maxWidth: 180 }} title={mark.label}>{mark.label}</span>;
  const room = (next === undefined ? width : place(next.at) - (flips(next.at, mark) ? 190 : 0)) - left - 6;
  if (room < 40) return null;
  return <span className={styles["markText"]} style={{ left, maxWidth: room }} title={mark.label}>{mark.label}</span>;
}

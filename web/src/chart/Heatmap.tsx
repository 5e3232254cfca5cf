import { type KeyboardEvent, memo, type PointerEvent, useCallback, useId, useMemo, useState } from "react";
import { between, moment, type Zone } from "~/time/zone";
import { timeText, timeTicks } from "./axes";
import { type Cell, cellOf, type Exception, nextException, type Tally, tell } from "./cells";
import styles from "./heatmap.module.css";
import { useWidth } from "./useWidth";

export interface HeatRow {
  key: string;
  label: string;
  level: 0 | 1 | 2;
  /** Of a header that only names what follows. */
  note?: string;
  cells: readonly Tally[];
  exceptions: readonly Exception[];
  notStored: number;
  open?: boolean;
  onToggle?: () => void;
  /** In front of a tick's time in its tooltip. */
  title: string;
}

interface Props {
  rows: readonly HeatRow[];
  from: number;
  to: number;
  step: number;
  zone: Zone;
}

interface Hover {
  key: string;
  index: number;
}

/** Rows of cells over one time axis. A quiet cell says nothing; any other has a glyph besides its colour and quotes its reason. */
export function Heatmap({ rows, from, to, step, zone }: Props) {
  const [axis, width] = useWidth<HTMLDivElement>();
  const [hover, setHover] = useState<Hover | null>(null);
  const count = Math.max(1, Math.round((to - from) / step));
  const cell = width / count;
  const ticks = useMemo(() => timeTicks(from, to, Math.max(100, width), zone), [from, to, width, zone]);
  const texts = useMemo(() => timeText(ticks, zone), [ticks, zone]);
  const hatch = useId();
  return (
    <div className={styles["map"]} onPointerLeave={() => setHover(null)}>
      <svg width="0" height="0" className={styles["defs"]} aria-hidden="true">
        <defs>
          <pattern id={hatch} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="5" height="5" fill="var(--cell-missing-2)" />
            <path d="M1 0V5" stroke="var(--cell-missing)" strokeWidth="1.6" />
          </pattern>
        </defs>
      </svg>
      <div className={styles["row"]}>
        <span />
        <div ref={axis} className={styles["axis"]} aria-hidden="true">
          {ticks.map((at, i) => <span key={at} style={{ left: ((at - from) / step) * cell }}>{texts[i]}</span>)}
        </div>
        <span className={styles["lost"]}>not stored</span>
      </div>
      {rows.map((row) =>
        row.cells.length === 0 ? (
          <div key={row.key} className={styles["group"]}><b>{row.label}</b><span>{row.note}</span></div>
        ) : (
          <Row key={row.key} row={row} cell={cell} from={from} step={step} zone={zone} hatch={hatch} at={hover?.key === row.key ? hover.index : null} setHover={setHover} />
        ),
      )}
    </div>
  );
}

interface RowProps {
  row: HeatRow;
  cell: number;
  from: number;
  step: number;
  zone: Zone;
  hatch: string;
  at: number | null;
  setHover: (hover: Hover | null) => void;
}

const Row = memo(function Row({ row, cell, from, step, zone, hatch, at, setHover }: RowProps) {
  const cells = useMemo(() => row.cells.map(cellOf), [row.cells]);
  const point = useCallback(
    (event: PointerEvent<HTMLElement>) => {
      const index = Math.floor((event.clientX - event.currentTarget.getBoundingClientRect().left) / cell);
      setHover(index >= 0 && index < cells.length ? { key: row.key, index } : null);
    },
    [cell, cells.length, row.key, setHover],
  );
  const keys = (event: KeyboardEvent) => {
    const next = event.key === "ArrowRight" ? nextException(cells, at ?? -1, 1) : event.key === "ArrowLeft" ? nextException(cells, at ?? cells.length, -1) : event.key === "Home" ? 0 : event.key === "End" ? cells.length - 1 : undefined;
    if (next === undefined) return;
    event.preventDefault();
    if (next !== null) setHover({ key: row.key, index: next });
  };
  const focused = at ?? nextException(cells, -1, 1) ?? cells.length - 1;
  return (
    <div className={styles["row"]} data-level={row.level}>
      {row.onToggle === undefined ? (
        <span className={styles["label"]} title={row.label}>{row.label}</span>
      ) : (
        <button type="button" className={styles["label"]} aria-expanded={row.open} onClick={row.onToggle} title={row.label}>
          <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true"><path d={row.open === true ? "M1 3l4 4 4-4" : "M3 1l4 4-4 4"} fill="none" stroke="currentColor" strokeWidth="1.3" /></svg>
          {row.label}
        </button>
      )}
      <div
        className={styles["cells"]}
        role="slider"
        tabIndex={0}
        aria-label={row.title}
        aria-valuemin={0}
        aria-valuemax={cells.length - 1}
        aria-valuenow={focused}
        aria-valuetext={spoken(row, cells, focused, from, step, zone)}
        onPointerMove={point}
        onPointerLeave={() => setHover(null)}
        onKeyDown={keys}
        onFocus={(event) => event.currentTarget.matches(":focus-visible") && setHover({ key: row.key, index: focused })}
        onBlur={() => setHover(null)}
      >
        <Cells cells={cells} cell={cell} hatch={hatch} />
        {at !== null && cells[at]?.kind != null && <i className={styles["ring"]} style={{ left: at * cell, width: Math.max(3, cell - 1) }} />}
        {at !== null && <CellTip row={row} cell={cells[at]} left={(at + 1) * cell} right={at > cells.length * 0.6 ? (cells.length - at) * cell : null} start={from + at * step} end={from + cells.length * step} step={step} zone={zone} />}
      </div>
      <span className={styles["lost"]} data-none={row.notStored === 0 || undefined}>{row.notStored}</span>
    </div>
  );
});

function spoken(row: HeatRow, cells: readonly Cell[], index: number, from: number, step: number, zone: Zone): string {
  const cell = cells[index];
  const start = from + index * step;
  const at = moment(start, zone, from + cells.length * step);
  if (cell?.kind == null) return `${at}: nothing planned`;
  const reasons = tell(row.exceptions, start, start + step).map((one) => one.text).join("; ");
  return `${at}: ${cell.hit} of ${cell.planned} ${cell.kind}${reasons === "" ? "" : `: ${reasons}`}`;
}

const glyphs: Partial<Record<string, string>> = { failed: "M-2.4 -2.4L2.4 2.4M2.4 -2.4L-2.4 2.4", dropped: "M-2.6 -1.6H2.6L0 2.2Z", skipped: "M-2.6 0H2.6", missing: "" };

const Cells = memo(function Cells({ cells, cell, hatch }: { cells: readonly Cell[]; cell: number; hatch: string }) {
  const height = 16;
  const gap = cell > 5 ? 1 : 0;
  const size = Math.max(1, cell - gap);
  let stored = "";
  cells.forEach(({ kind, foot }, i) => {
    if (kind === "stored" || (kind !== null && foot)) stored += `M${(i * cell).toFixed(2)} 0h${size.toFixed(2)}v${height}h-${size.toFixed(2)}z`;
  });
  return (
    <svg width="100%" height={height} aria-hidden="true">
      <path d={stored} fill="var(--cell-stored)" />
      {cells.map(({ kind, foot }, i) => {
        if (kind === null || kind === "stored") return null;
        const x = i * cell;
        const top = foot ? height - 5 : 0;
        // A cell is its place in the row.
        // oxlint-disable react/no-array-index-key
        if (kind === "pending") return <rect key={i} x={x + 0.5} y={top + 0.5} width={Math.max(1, size - 1)} height={height - top - 1} fill="none" stroke="var(--cell-pending)" strokeDasharray="2 1.5" />;
        return (
          <g key={i}>
            <rect x={x} y={top} width={size} height={height - top} fill={kind === "missing" ? `url(#${hatch})` : `var(--cell-${kind})`} />
            {!foot && size >= 8 && (kind === "missing"
              ? <text x={x + size / 2} y={12} textAnchor="middle" className={styles["glyphText"]}>?</text>
              : <path d={glyphs[kind]} transform={`translate(${x + size / 2} ${height / 2})`} stroke="var(--on-cell)" strokeWidth="1.5" fill={kind === "dropped" ? "var(--on-cell)" : "none"} />)}
          </g>
        );
        // oxlint-enable react/no-array-index-key
      })}
    </svg>
  );
});

interface TipProps {
  row: HeatRow;
  cell: Cell | undefined;
  left: number;
  right: number | null;
  start: number;
  /** Of the whole map: earlier days are named. */
  end: number;
  step: number;
  zone: Zone;
}

function CellTip({ row, cell, left, right, start, end, step, zone }: TipProps) {
  if (cell === undefined) return null;
  const told = tell(row.exceptions, start, start + step);
  const place = right === null ? { left: left + 6 } : { right: right + 6 };
  return (
    <div className={styles["tip"]} style={place}>
      <p><b>{row.title}, {between(start, start + step, zone, end)}</b></p>
      {cell.kind === null ? <p className="dim">nothing was planned here</p> : <p className="dim">{cell.planned} planned, {cell.kind === "stored" ? "all stored" : `${cell.hit} ${cell.kind}`}</p>}
      {told.slice(0, 6).map((one) => (
        <p key={one.text}>
          <span className={styles["reason"]}>{one.ticks > 1 ? `${one.ticks} × ` : ""}{one.text}</span>
          {one.detail !== "" && <> {one.detail}</>}
        </p>
      ))}
      {told.length === 0 && cell.kind !== null && cell.kind !== "stored" && <p className="dim">{cell.kind === "pending" ? "due; the collector still reports" : cell.kind === "missing" ? "nobody reported; stored when the collector’s backlog arrives" : "open the row for the reason"}</p>}
      {told.length > 6 && <p className="dim">and {told.length - 6} more reasons</p>}
    </div>
  );
}

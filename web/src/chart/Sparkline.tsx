import { memo, useId, useMemo } from "react";
import styles from "./chart.module.css";

interface Props {
  values: readonly (number | null)[];
  token?: string;
  width?: number;
  height?: number;
  /** What it shows, for who cannot see it. */
  label: string;
}

/** A small picture of a trend from zero; what is missing is hatched, never joined. */
export const Sparkline = memo(function Sparkline({ values, token = "data", width = 76, height = 18, label }: Props) {
  const id = useId();
  const { line, area, gaps } = useMemo(() => shape(values, width, height), [values, width, height]);
  return (
    <svg className={styles["spark"]} width={width} height={height} role="img" aria-label={label}>
      <defs>
        <pattern id={id} width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <path d="M0 0V4" stroke="var(--hatch)" strokeWidth="2" />
        </pattern>
      </defs>
      {gaps.map((gap) => <rect key={gap.x} x={gap.x} width={gap.width} height={height} fill={`url(#${id})`} />)}
      <path d={area} fill={`var(--${token})`} opacity="0.22" />
      <path d={line} fill="none" stroke={`var(--${token})`} strokeWidth="1" />
    </svg>
  );
});

export function shape(values: readonly (number | null)[], width: number, height: number) {
  const top = Math.max(0, ...values.map((value) => value ?? 0));
  const size = width / Math.max(1, values.length);
  const y = (value: number) => round(height - 1 - (top > 0 ? value / top : 0) * (height - 3));
  let line = "";
  let area = "";
  let open = false;
  const gaps: { x: number; width: number }[] = [];
  values.forEach((value, i) => {
    const x = round(i * size);
    const end = round((i + 1) * size);
    if (value === null) {
      if (open) area += `V${height}Z`;
      open = false;
      const last = gaps[gaps.length - 1];
      if (last !== undefined && Math.abs(last.x + last.width - x) < 0.01) last.width = round(end - last.x);
      else gaps.push({ x, width: round(end - x) });
      return;
    }
    line += open ? `V${y(value)}H${end}` : `M${x} ${y(value)}H${end}`;
    area += open ? `V${y(value)}H${end}` : `M${x} ${height}V${y(value)}H${end}`;
    open = true;
  });
  if (open) area += `V${height}Z`;
  return { line, area, gaps };
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}

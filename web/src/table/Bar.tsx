import styles from "./table.module.css";

interface Part {
  value: number;
  token: string;
}

/** A bar on the scale of its column, in SVG so that no style needs to be inline; several parts stand side by side. */
export function Bar({ parts, max, width = 50, track = false, title }: { parts: Part[]; max: number; width?: number; track?: boolean; title?: string }) {
  const height = 8;
  const sizes = parts.map((part) => (max > 0 && part.value > 0 ? Math.max(1, (part.value / max) * width) : 0));
  return (
    <svg className={styles["bar"]} width={width} height={height} aria-hidden="true">
      {title !== undefined && <title>{title}</title>}
      {track && <rect width={width} height={height} fill="var(--track)" />}
      {parts.map((part, i) => {
        const size = sizes[i] ?? 0;
        const x = sizes.slice(0, i).reduce((sum, one) => sum + one, 0);
        return <rect key={part.token} x={x} width={Math.max(0, Math.min(size, width - x))} height={height} fill={`var(--${part.token})`} />;
      })}
    </svg>
  );
}

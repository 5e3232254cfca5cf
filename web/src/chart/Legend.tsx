import { value as withUnit } from "~/format/unit";
import { count, type Maybe, sig } from "~/format/number";
import styles from "./chart.module.css";

interface Entry {
  key: string;
  label: string;
  color: string;
  value: Maybe;
  exact: string;
  off: boolean;
}

interface Props {
  entries: Entry[];
  by: number;
  /** Counted things read as whole numbers. */
  whole: boolean;
  onToggle: (key: string) => void;
  aside?: { label: string; value: Maybe; unit: string }[];
}

/** Every legend shows the value at the crosshair, or the newest one. A click takes a series out and puts it back. */
export function Legend({ entries, by, whole, onToggle, aside = [] }: Props) {
  return (
    <div className={styles["legend"]}>
      {entries.map((entry) => (
        <button
          key={entry.key}
          type="button"
          className={styles["entry"]}
          data-off={entry.off || undefined}
          aria-pressed={!entry.off}
          title={entry.exact}
          onClick={() => onToggle(entry.key)}
        >
          <i style={{ background: entry.color }} />
          {entry.label} <b>{whole && typeof entry.value === "number" && Number.isInteger(entry.value) ? count(entry.value) : sig(typeof entry.value === "number" ? entry.value / by : null)}</b>
        </button>
      ))}
      {aside.map((one) => (
        <span key={one.label} className={styles["entry"]}>
          {one.label} <b>{withUnit(one.value, one.unit)}</b>
        </span>
      ))}
    </div>
  );
}

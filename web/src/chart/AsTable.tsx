import { exact } from "~/format/number";
import { moment, type Zone } from "~/time/zone";
import styles from "./chart.module.css";
import { type Grid, times, type Value } from "./grid";

interface Props {
  title: string;
  unit: string;
  grid: Grid;
  now: number;
  zone: Zone;
  height: number;
  columns: { key: string; label: string; values: readonly Value[] }[];
}

/** The same numbers without a picture: newest first, one row per bucket. */
export function AsTable({ title, unit, grid, now, zone, height, columns }: Props) {
  const starts = times(grid);
  return (
    // A region that scrolls has to be reachable by keyboard.
    <div className={styles["table"]} style={{ height }} tabIndex={0} role="region" aria-label={`${title} as table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">Bucket of {grid.step} s</th>
            {columns.map((column) => (
              <th key={column.key} scope="col">{column.label}{unit === "" ? "" : `, ${unit}`}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {starts.toReversed().map((start, i) => (
            <tr key={start}>
              <th scope="row">{moment(start, zone, now)}</th>
              {columns.map((column) => (
                <td key={column.key}>{exact(column.values[starts.length - 1 - i])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

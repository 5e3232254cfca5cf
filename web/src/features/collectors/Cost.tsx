import { Link } from "@tanstack/react-router";
import { age } from "~/format/duration";
import { exact, sig } from "~/format/number";
import { Bar } from "~/table/Bar";
import type { Cost as Row } from "./model";
import styles from "./collectors.module.css";

const most = 25;

export function Cost({ rows, span }: { rows: readonly Row[]; span: number }) {
  const top = Math.max(0, ...rows.map((row) => row.percent ?? 0));
  return (
    <section className={styles["cost"]} aria-label="Cost on each server">
      <h2>Cost on each server</h2>
      <table>
        <thead><tr><th scope="col">Instance</th><th scope="col"><span className="hidden-text">Bar</span></th><th scope="col">% core ↓</th><th scope="col">ms/cycle</th></tr></thead>
        <tbody>
          {rows.slice(0, most).map((row) => (
            <tr key={row.id}>
              <th scope="row" title={row.name}><Link to="/instances/$id" params={{ id: row.id }}>{row.name}</Link></th>
              {row.percent === null ? <td colSpan={3} className={styles["none"]}>no data: {row.status}</td> : (
                <>
                  <td><Bar width={44} max={top} parts={[{ value: row.percent, token: row.percent > 1 ? "warning" : "data" }]} /></td>
                  <td title={exact(row.percent)}>{sig(row.percent)}</td>
                  <td title={exact(row.msPerCycle)}>{sig(row.msPerCycle)}</td>
                </>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > most && <p>and {rows.length - most} that cost less</p>}
      <p>What watching takes of one core of each server, last {age(span)}: time between the first and the last statement of each round, an upper bound of the CPU time of our backends. The limit to hold is 1 %.</p>
    </section>
  );
}

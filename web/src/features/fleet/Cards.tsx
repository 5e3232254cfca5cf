import type { ReactNode } from "react";
import type { Instance } from "~/api/types";
import type { Col } from "~/table/DataTable";
import { type Sort, sorted } from "~/table/rows";
import { Pick } from "~/ui/Pick";
import styles from "./cards.module.css";

interface Props {
  cols: readonly Col<Instance>[];
  rows: readonly Instance[];
  sort: Sort;
  onSort: (sort: Sort) => void;
  detail: (row: Instance) => ReactNode;
  empty: ReactNode;
}

/** Columns that head a card, in its first line; all others are pairs of name and value below. */
const head = ["name", "state", "version", "role"];

/** The fleet on a narrow screen: what the table shows in a row, one card each, in the same order. What nobody measured is left out. */
export function Cards({ cols, rows, sort, onSort, detail, empty }: Props) {
  const by = cols.find((col) => col.id === sort.id);
  const list = sorted(rows, by?.sort ?? (() => null), sort.desc);
  const [name, state, version, role] = head.map((id) => cols.find((col) => col.id === id));
  // "-name" is the descending order, as in the URL.
  const orders = cols.filter((col) => col.sort !== undefined).map((col) => ({ value: col.num === true ? `-${col.id}` : col.id, label: String(col.header) }));
  return (
    <section className={styles["cards"]} aria-label="Instances">
      <div className={styles["order"]}>
        <Pick label="Sort by" value={`${sort.desc ? "-" : ""}${sort.id}`} options={orders} onPick={(value) => onSort({ id: value.replace("-", ""), desc: value.startsWith("-") })} />
      </div>
      {list.length === 0 && empty}
      <ul>
        {list.map((one) => {
          const more = detail(one);
          return (
            <li key={one.id} className={styles["card"]}>
              <div className={styles["head"]}>
                {name?.cell(one)}
                {state?.cell(one)}
                <span className={styles["fill"]} />
                {one.version !== "" && <span className="dim">{version?.cell(one)} {role?.cell(one)}</span>}
              </div>
              {more !== null && <div className={styles["detail"]}>{more}</div>}
              <dl>
                {cols.filter((col) => !head.includes(col.id) && col.sort?.(one) != null).map((col) => (
                  <div key={col.id}>
                    <dt>{col.header}</dt>
                    <dd>{col.cell(one)}</dd>
                  </div>
                ))}
              </dl>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

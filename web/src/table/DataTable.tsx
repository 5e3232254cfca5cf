import { createSortedRowModel, rowSortingFeature, type SortFn, tableFeatures, useTable } from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type ReactNode, useMemo, useRef, useState } from "react";
import { compare, hold, type Sort, type SortValue } from "./rows";
import styles from "./table.module.css";

export interface Col<T> {
  id: string;
  header: ReactNode;
  /** For a reader who does not see the header's context. */
  title?: string;
  cell: (row: T) => ReactNode;
  /** What is sorted is what is shown. Without it the column does not sort. */
  sort?: (row: T) => SortValue;
  num?: boolean;
  /** Takes the room that is left, and is cut when there is little. */
  grow?: boolean;
  width?: number;
}

interface Props<T> {
  label: string;
  cols: readonly Col<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string;
  sort: Sort;
  /** Given: rows come sorted by the server, and this asks for another order. Else the table sorts. */
  serverSorts?: boolean;
  onSort: (sort: Sort) => void;
  /** A second line under the row, for a reason and its remedy. */
  detail?: (row: T) => ReactNode;
  selected?: (row: T) => boolean;
  onOpen?: (row: T) => void;
  /** Rows that always stand at the end: cells in the order of the columns; `wide` lets the cell of that column take two more. */
  pinned?: { key: string; cells: ReactNode[]; strong?: boolean; wide?: number }[];
  empty?: ReactNode;
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
const virtualFrom = 80;

export function DataTable<T extends object>(props: Props<T>) {
  const { label, cols, rows, rowKey, sort, onSort, detail, selected, onOpen, pinned = [], serverSorts = false } = props;
  const [held, setHeld] = useState<{ order: readonly string[]; sort: string } | null>(null);
  const scroller = useRef<HTMLDivElement | null>(null);

  const columns = useMemo(
    () =>
      cols.map((col) => ({
        id: col.id,
        accessorFn: (row: T) => col.sort?.(row) ?? null,
        enableSorting: col.sort !== undefined,
        // The comparison knows the direction, because missing values are last in both.
        sortFn: ((a, b, id) => (sort.desc ? -1 : 1) * compare(a.getValue<SortValue>(id), b.getValue<SortValue>(id), sort.desc)) satisfies SortFn<typeof features, T>,
      })),
    [cols, sort.desc],
  );
  const sorting = useMemo(() => [{ id: sort.id, desc: sort.desc }], [sort.id, sort.desc]);
  const table = useTable({
    features,
    columns,
    data: rows as T[],
    getRowId: rowKey,
    manualSorting: serverSorts,
    state: { sorting },
    onSortingChange: (update) => {
      const next = (typeof update === "function" ? update(sorting) : update)[0];
      if (next !== undefined) onSort(next);
    },
  });
  const sortKey = `${sort.id} ${sort.desc}`;
  const sorted = table.getRowModel().rows;
  const shown = hold(sorted, (row) => row.id, held !== null && held.sort === sortKey ? held.order : null);
  const virtual = shown.length > virtualFrom;
  const virtualizer = useVirtualizer({
    count: shown.length,
    enabled: virtual,
    getScrollElement: () => scroller.current,
    estimateSize: (i) => (detail !== undefined && shown[i] !== undefined && detail(shown[i].original) !== null ? 52 : 28),
    getItemKey: (i) => shown[i]?.id ?? i,
    overscan: 12,
  });
  const items = virtual ? virtualizer.getVirtualItems() : null;
  const visible = items === null ? shown.map((row, index) => ({ row, index })) : items.flatMap(({ index }) => (shown[index] === undefined ? [] : [{ row: shown[index], index }]));
  const before = items?.[0]?.start ?? 0;
  const after = items === null ? 0 : virtualizer.getTotalSize() - (items[items.length - 1]?.end ?? 0);

  function move(event: KeyboardEvent<HTMLElement>) {
    const row = (event.target as HTMLElement).closest("tr[data-row]");
    if (row === null || event.target !== row || event.ctrlKey || event.metaKey || event.altKey) return;
    const down = event.key === "j" || event.key === "ArrowDown";
    const up = event.key === "k" || event.key === "ArrowUp";
    if (down || up) {
      event.preventDefault();
      const all = [...(scroller.current?.querySelectorAll<HTMLElement>("tr[data-row]") ?? [])];
      all[all.indexOf(row as HTMLElement) + (down ? 1 : -1)]?.focus();
    }
  }

  return (
    <div
      ref={scroller}
      className={styles["wrap"]}
      data-virtual={virtual || undefined}
      onPointerEnter={() => setHeld({ order: shown.map((row) => row.id), sort: sortKey })}
      onPointerLeave={() => setHeld(null)}
      onKeyDown={move}
      role="region"
      aria-label={label}
      // A region that scrolls has to be reachable by keyboard.
      tabIndex={0}
    >
      <table className={styles["table"]} aria-rowcount={shown.length + pinned.length + 1}>
        <thead>
          <tr>
            {cols.map((col) => {
              const on = col.id === sort.id;
              return (
                <th
                  key={col.id}
                  scope="col"
                  className={`${col.num === true ? styles["num"] : ""} ${col.grow === true ? styles["grow"] : ""}`}
                  style={col.width === undefined ? undefined : { width: col.width, minWidth: col.width }}
                  aria-sort={on ? (sort.desc ? "descending" : "ascending") : undefined}
                  title={col.title}
                >
                  {col.sort === undefined ? (
                    col.header
                  ) : (
                    <button type="button" onClick={() => onSort({ id: col.id, desc: on ? !sort.desc : col.num === true })}>
                      {col.header}
                      {on && <span aria-hidden="true"> {sort.desc ? "↓" : "↑"}</span>}
                    </button>
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        {before > 0 && <tbody aria-hidden="true"><tr style={{ height: before }} /></tbody>}
        {visible.map(({ row, index }) => {
          const more = detail?.(row.original) ?? null;
          return (
            <tbody key={row.id} data-index={index} ref={virtual ? virtualizer.measureElement : undefined}>
              <tr
                data-row
                tabIndex={onOpen === undefined ? undefined : 0}
                data-open={onOpen === undefined ? undefined : true}
                data-more={more === null ? undefined : true}
                aria-selected={selected?.(row.original)}
                onClick={onOpen === undefined ? undefined : (event) => (event.target as HTMLElement).closest("a,button") === null && onOpen(row.original)}
                onKeyDown={onOpen === undefined ? undefined : (event) => event.key === "Enter" && event.target === event.currentTarget && onOpen(row.original)}
              >
                {cols.map((col, i) => {
                  const className = `${col.num === true ? styles["num"] : ""} ${col.grow === true ? styles["grow"] : ""}`;
                  return i === 0 ? <th key={col.id} scope="row" className={className}>{col.cell(row.original)}</th> : <td key={col.id} className={className}>{col.cell(row.original)}</td>;
                })}
              </tr>
              {more !== null && (
                <tr className={styles["detail"]}>
                  <td />
                  <td colSpan={cols.length - 1}>{more}</td>
                </tr>
              )}
            </tbody>
          );
        })}
        {after > 0 && <tbody aria-hidden="true"><tr style={{ height: after }} /></tbody>}
        {shown.length === 0 && props.empty !== undefined && <tbody><tr><td colSpan={cols.length} className={styles["empty"]}>{props.empty}</td></tr></tbody>}
        {pinned.length > 0 && (
          <tfoot>
            {pinned.map((row) => (
              <tr key={row.key} data-strong={row.strong || undefined}>
                {cols.map((col, i) =>
                  row.wide !== undefined && i > row.wide && i <= row.wide + 2 ? null : (
                    <td key={col.id} colSpan={i === row.wide ? 3 : undefined} className={`${col.num === true ? styles["num"] : ""} ${col.grow === true ? styles["grow"] : ""}`}>{row.cells[i]}</td>
                  ),
                )}
              </tr>
            ))}
          </tfoot>
        )}
      </table>
    </div>
  );
}

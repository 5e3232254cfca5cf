// What a table does with its rows before they are drawn; pure.

export interface Sort {
  id: string;
  desc: boolean;
}

/** Reads "load" or "-load" from the URL; "-" is descending. Unknown columns are the default. */
export function parseSort(text: unknown, known: readonly string[], fallback: Sort): Sort {
  if (typeof text !== "string") return fallback;
  const desc = text.startsWith("-");
  const id = desc ? text.slice(1) : text;
  return known.includes(id) ? { id, desc } : fallback;
}

/** What the URL holds; undefined for the default. */
export function sortText(sort: Sort, fallback: Sort): string | undefined {
  return sort.id === fallback.id && sort.desc === fallback.desc ? undefined : `${sort.desc ? "-" : ""}${sort.id}`;
}

/**
 * Keeps the order that is under the reader's pointer: rows that were there stay in their order, new ones
 * come last, vanished ones go.
 */
export function hold<T>(rows: readonly T[], key: (row: T) => string, order: readonly string[] | null): readonly T[] {
  if (order === null) return rows;
  const place = new Map(order.map((one, i) => [one, i]));
  return rows.map((row, i) => ({ row, at: place.get(key(row)) ?? order.length + i })).sort((a, b) => a.at - b.at).map(({ row }) => row);
}

/** A sorted copy, for what shows rows but is no table. */
export function sorted<T>(rows: readonly T[], read: (row: T) => SortValue, desc: boolean): T[] {
  return rows.toSorted((a, b) => compare(read(a), read(b), desc));
}

export type SortValue = number | string | null | undefined;

/** Missing values are last in either direction; text compares as people number things (db-2 before db-10). */
export function compare(a: SortValue, b: SortValue, desc: boolean): number {
  const [noA, noB] = [a === null || a === undefined, b === null || b === undefined];
  if (noA || noB) return noA === noB ? 0 : noA ? 1 : -1;
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return desc ? -order : order;
}

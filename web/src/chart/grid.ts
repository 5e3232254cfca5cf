// From the points of the API to columns over one grid of buckets. Null is "no sample"; a zero is a
// zero; nothing is interpolated.

export type Value = number | null;
export type Point = readonly [time: number, value: Value];

export interface Grid {
  from: number;
  to: number;
  step: number;
}

export function times({ from, to, step }: Grid): number[] {
  return Array.from({ length: Math.max(0, Math.round((to - from) / step)) }, (_, i) => from + i * step);
}

export function onGrid(points: readonly Point[], grid: Grid): Value[] {
  const column: Value[] = Array.from({ length: times(grid).length }, () => null);
  for (const [time, value] of points) {
    const index = Math.floor((time - grid.from) / grid.step + 1e-6);
    if (index >= 0 && index < column.length) column[index] = value;
  }
  return column;
}

/** The bucket that holds this moment, or null outside the grid. */
export function indexAt(time: number, grid: Grid): number | null {
  const index = Math.floor((time - grid.from) / grid.step);
  return index >= 0 && index < Math.round((grid.to - grid.from) / grid.step) ? index : null;
}

/** Sums columns; null only where every one of them is null. */
export function sum(columns: readonly (readonly Value[])[]): Value[] {
  const length = Math.max(0, ...columns.map((column) => column.length));
  return Array.from({ length }, (_, i) => {
    let total: Value = null;
    for (const column of columns) {
      const value = column[i] ?? null;
      if (value !== null) total = (total ?? 0) + value;
    }
    return total;
  });
}

/** a / b; null where either is missing or b is zero: of nothing there is no ratio. */
export function ratio(a: readonly Value[], b: readonly Value[]): Value[] {
  return a.map((value, i) => {
    const under = b[i] ?? null;
    return value === null || under === null || under === 0 ? null : value / under;
  });
}

export function largest(columns: readonly (readonly Value[])[]): number {
  let top = 0;
  for (const column of columns) for (const value of column) if (value !== null && value > top) top = value;
  return top;
}

export function smallest(columns: readonly (readonly Value[])[]): number {
  let low = Number.POSITIVE_INFINITY;
  for (const column of columns) for (const value of column) if (value !== null && value < low) low = value;
  return low;
}

export function mean(column: readonly Value[]): Value {
  let total = 0;
  let n = 0;
  for (const value of column) {
    if (value === null) continue;
    total += value;
    n++;
  }
  return n === 0 ? null : total / n;
}

export function lastValue(column: readonly Value[]): Value {
  return column.findLast((value) => value !== null) ?? null;
}

import type { Value } from "./grid";

export interface Layer {
  base: Value[];
  top: Value[];
}

/**
 * Stacks columns bottom first. A bucket where a column has no sample has neither base nor top in its
 * layer, and adds nothing to those above; an outage is never stacked as a zero.
 */
export function stack(columns: readonly (readonly Value[])[]): Layer[] {
  const heights = new Map<number, number>();
  return columns.map((column) => {
    const base: Value[] = [];
    const top: Value[] = [];
    column.forEach((value, i) => {
      const under = heights.get(i) ?? 0;
      base.push(value === null ? null : under);
      top.push(value === null ? null : under + value);
      if (value !== null) heights.set(i, under + value);
    });
    return { base, top };
  });
}

/** Layers that all start from `floor`, for lines drawn over one another. */
export function flat(columns: readonly (readonly Value[])[], floor: number): Layer[] {
  return columns.map((column) => ({ base: column.map((value) => (value === null ? null : floor)), top: [...column] }));
}

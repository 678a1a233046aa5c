/** Which adapters enter each row of a value: a list for every row. Pure; knows no memory. */

import type { WeightedSlot } from '../step.ts';

export interface RowSet {
  readonly rows: readonly (readonly WeightedSlot[])[];
}

/** Every row `count` times in its place. */
export function repeatRows({ rows }: RowSet, count: number): RowSet {
  return { rows: rows.flatMap((adapters) => Array.from({ length: count }, () => adapters)) };
}

/** `count` rows from `first` on. */
export function sliceRows({ rows }: RowSet, first: number, count: number): RowSet {
  return { rows: rows.slice(first, first + count) };
}

/** The rows of all, one set after the other. */
export function stackRows(sets: readonly RowSet[]): RowSet {
  return { rows: sets.flatMap(({ rows }) => rows) };
}

/**
 * Neighbouring rows of a value that have the same adapters, in groups whose factors kernels read once. Pure.
 * Runs of many rows with one adapter become tiles for the tensor cores; all others few rows at a time.
 */

import type { WeightedSlot } from '../step.ts';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import type { RowSet } from './row-set.ts';

/** As the kernels declare them. */
export const SHARED_ROWS = 4;
export const TILE_ROWS = 64;

/** Below it most of a tile would be empty, and the factors of so few rows come from the cache. */
const FEWEST_TILED_ROWS = 32;

export interface RowGroup {
  readonly row: number;
  readonly rowCount: number;
  /** One at least. */
  readonly adapters: readonly WeightedSlot[];
}

export interface RowGroups {
  /** Of the small groups, at most: 1 or 4. */
  readonly mostRows: number;
  readonly small: readonly RowGroup[];
  /** Of up to 64 rows, with a single adapter. */
  readonly tiles: readonly RowGroup[];
}

/**
 * Whether rows are tiled depends on their own run alone, and a run on the list that its rows share: what a sequence gets
 * must not depend on its neighbours.
 */
export function groupRows({ rows }: RowSet): RowGroups {
  const runs: RowGroup[] = [];
  const tiles: RowGroup[] = [];
  let row = 0;
  while (row < rows.length) {
    const adapters = rows[row]!;
    const rowCount = countWhile(rows, row, (other) => other === adapters);
    if (adapters.length > 0) {
      if (rowCount >= FEWEST_TILED_ROWS && isTileable(adapters)) tiles.push(...cut(row, rowCount, adapters, TILE_ROWS));
      else join(runs, { row, rowCount, adapters });
    }
    row += rowCount;
  }
  return { ...cutSmall(runs), tiles };
}

/** Rows share factors where that saves half the reads; else more of the device can read at once. Results are the same. */
function cutSmall(runs: readonly RowGroup[]): Pick<RowGroups, 'mostRows' | 'small'> {
  const cutRuns = (most: number): RowGroup[] => runs.flatMap((run) => cut(run.row, run.rowCount, run.adapters, most));
  const shared = cutRuns(SHARED_ROWS);
  const rowCount = runs.reduce((sum, run) => sum + run.rowCount, 0);
  return rowCount >= 2 * shared.length && shared.length > 0
    ? { mostRows: SHARED_ROWS, small: shared }
    : { mostRows: 1, small: cutRuns(1) };
}

function countWhile<T>(items: readonly T[], first: number, holds: (item: T) => boolean): number {
  let end = first;
  while (end < items.length && holds(items[end]!)) end++;
  return end - first;
}

/** The kernels for tiles know one adapter and one type of factors. */
function isTileable(adapters: readonly WeightedSlot[]): boolean {
  const { factorDtype } = adapters[0]!.slot as CudaAdapterSlot;
  return adapters.length === 1 && factorDtype !== undefined;
}

/** To the run before it, where that has the same adapters: neither's results change. */
function join(runs: RowGroup[], run: RowGroup): void {
  const last = runs.at(-1);
  const isNeighbour = last !== undefined && last.row + last.rowCount === run.row;
  if (isNeighbour && areSame(last.adapters, run.adapters)) {
    runs[runs.length - 1] = { ...last, rowCount: last.rowCount + run.rowCount };
  } else {
    runs.push(run);
  }
}

function areSame(some: readonly WeightedSlot[], others: readonly WeightedSlot[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ slot, weight }, i) => slot === others[i]!.slot && weight === others[i]!.weight)
  );
}

function cut(row: number, rowCount: number, adapters: readonly WeightedSlot[], most: number): RowGroup[] {
  return Array.from({ length: Math.ceil(rowCount / most) }, (_, i) => {
    return { row: row + i * most, rowCount: Math.min(most, rowCount - i * most), adapters };
  });
}

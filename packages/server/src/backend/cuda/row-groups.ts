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
  for (let row = 0, end = 0; row < rows.length; row = end) {
    const adapters = rows[row]!;
    end = endOfRun(rows, row);
    if (adapters.length === 0) continue;
    const run = { row, rowCount: end - row, adapters };
    if (run.rowCount >= FEWEST_TILED_ROWS && isTileable(adapters)) cut(tiles, run, TILE_ROWS);
    else join(runs, run);
  }
  return { ...cutSmall(runs), tiles };
}

/** Rows share factors where that saves half the reads; else more of the device can read at once. Results are the same. */
function cutSmall(runs: readonly RowGroup[]): Pick<RowGroups, 'mostRows' | 'small'> {
  const rowCount = runs.reduce((sum, run) => sum + run.rowCount, 0);
  const sharedCount = runs.reduce((sum, run) => sum + Math.ceil(run.rowCount / SHARED_ROWS), 0);
  const mostRows = rowCount >= 2 * sharedCount && sharedCount > 0 ? SHARED_ROWS : 1;
  const small: RowGroup[] = [];
  for (const run of runs) cut(small, run, mostRows);
  return { mostRows, small };
}

/** After the last neighbour of a row that shares its list. */
function endOfRun(rows: RowSet['rows'], row: number): number {
  let end = row + 1;
  while (end < rows.length && rows[end] === rows[row]) end++;
  return end;
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

/** Into groups of so many rows at most. */
function cut(groups: RowGroup[], { row, rowCount, adapters }: RowGroup, most: number): void {
  for (let done = 0; done < rowCount; done += most) {
    groups.push({ row: row + done, rowCount: Math.min(most, rowCount - done), adapters });
  }
}

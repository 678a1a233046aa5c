/**
 * Which adapters enter which rows of a value, as the products need it: neighbouring rows with one adapter are one group.
 * Pure arithmetic: knows no tensors and no library.
 */

import type { WeightedSlot } from '../step.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';

/** Neighbouring rows with the same adapter at the same weight. */
export interface AdapterGroup {
  readonly slot: GgmlAdapterSlot;
  readonly weight: number;
  readonly firstRow: number;
  readonly rowCount: number;
}

/** A set of rows that flows through the graph together. */
export interface RowSet {
  readonly rowCount: number;
  /** In row order, first every row's first adapter, then the second ones; rows in no group are bare base rows. */
  readonly groups: readonly AdapterGroup[];
}

/** Rows that have the same adapters. */
export interface AdaptedRows {
  readonly adapters: readonly WeightedSlot[];
  readonly rowCount: number;
}

/** One run of rows after the other. */
export function makeRowSet(runs: readonly AdaptedRows[]): RowSet {
  const mostAdapters = Math.max(0, ...runs.map(({ adapters }) => adapters.length));
  const groups: AdapterGroup[] = [];
  for (let depth = 0; depth < mostAdapters; depth++) addGroups(groups, runs, depth);
  return { rowCount: runs.reduce((sum, { rowCount }) => sum + rowCount, 0), groups };
}

/** Every row `count` times in its place. */
export function repeatRows({ rowCount, groups }: RowSet, count: number): RowSet {
  const repeated = groups.map((group) => ({
    ...group,
    firstRow: group.firstRow * count,
    rowCount: group.rowCount * count,
  }));
  return { rowCount: rowCount * count, groups: repeated };
}

/** `count` rows from `first` on. */
export function sliceRows({ groups }: RowSet, first: number, count: number): RowSet {
  const inside = groups.flatMap((group) => {
    const start = Math.max(group.firstRow, first);
    const end = Math.min(group.firstRow + group.rowCount, first + count);
    return end > start ? [{ ...group, firstRow: start - first, rowCount: end - start }] : [];
  });
  return { rowCount: count, groups: inside };
}

/** The rows of all, one set after the other. */
export function stackRows(sets: readonly RowSet[]): RowSet {
  let rowCount = 0;
  const groups: AdapterGroup[] = [];
  for (const set of sets) {
    for (const group of set.groups) groups.push({ ...group, firstRow: rowCount + group.firstRow });
    rowCount += set.rowCount;
  }
  return { rowCount, groups };
}

/** The groups of each row's adapter at `depth` of its list. */
function addGroups(groups: AdapterGroup[], runs: readonly AdaptedRows[], depth: number): void {
  let firstRow = 0;
  for (const { adapters, rowCount } of runs) {
    const adapter = adapters[depth];
    if (adapter !== undefined && rowCount > 0) {
      const group = { slot: adapter.slot as GgmlAdapterSlot, weight: adapter.weight, firstRow, rowCount };
      const last = groups.at(-1);
      if (last && continues(last, group)) groups[groups.length - 1] = { ...last, rowCount: last.rowCount + rowCount };
      else groups.push(group);
    }
    firstRow += rowCount;
  }
}

function continues(last: AdapterGroup, group: AdapterGroup): boolean {
  return last.slot === group.slot && last.weight === group.weight && last.firstRow + last.rowCount === group.firstRow;
}

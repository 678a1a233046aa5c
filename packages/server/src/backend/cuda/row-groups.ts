/**
 * Rows of a value that have the same adapters, in groups whose factors kernels read once. Pure.
 * Runs of many rows with one adapter become tiles for the tensor cores; all others few rows at a time, wherever they lie.
 */

import type { AdapterSlot } from '../adapters.ts';
import type { WeightedSlot } from '../step.ts';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import type { RowSet } from './row-set.ts';

/** As the kernels declare them. */
export const SHARED_ROWS = 4;
export const TILE_ROWS = 64;

/** Below it most of a tile would be empty, and the factors of so few rows come from the cache. */
const FEWEST_TILED_ROWS = 32;

export interface RowGroup {
  /** Neighbours, where the group is a tile. */
  readonly rows: readonly number[];
  /** One at least. */
  readonly adapters: readonly WeightedSlot[];
}

export interface RowGroups {
  /** Of the small groups, at most: 1, 2 or 4. */
  readonly mostRows: number;
  readonly small: readonly RowGroup[];
  /** Of up to 64 rows, with a single adapter. */
  readonly tiles: readonly RowGroup[];
}

/** By a step's rows: its shape and its tables are made of the same groups. */
const KNOWN = new WeakMap<RowSet['rows'], RowGroups>();

export function groupRows({ rows }: RowSet): RowGroups {
  const groups = KNOWN.get(rows) ?? findGroups(rows);
  KNOWN.set(rows, groups);
  return groups;
}

/**
 * Whether rows are tiled depends on their own run alone, and a run on the list that its rows share: what a sequence gets
 * must not depend on its neighbours.
 */
function findGroups(rows: RowSet['rows']): RowGroups {
  const equals = new EqualRows();
  const tiles: RowGroup[] = [];
  for (let row = 0, end = 0; row < rows.length; row = end) {
    const adapters = rows[row]!;
    end = endOfRun(rows, row);
    if (adapters.length === 0) continue;
    const run = { first: row, end, adapters };
    if (end - row >= FEWEST_TILED_ROWS && isTileable(adapters)) cutTiles(tiles, run);
    else equals.add(run);
  }
  const { mostRows, small } = cutSmall(equals.groups);
  return { mostRows, small, tiles };
}

/** Neighbours that share a list. */
interface Run {
  readonly first: number;
  readonly end: number;
  readonly adapters: readonly WeightedSlot[];
}

interface EqualGroup {
  readonly rows: number[];
  readonly adapters: readonly WeightedSlot[];
  /** Another one with the same first adapter. */
  readonly next: EqualGroup | undefined;
}

/** Rows by their adapters, in the order of their first. */
class EqualRows {
  readonly groups: EqualGroup[] = [];
  readonly #byFirst = new Map<AdapterSlot, EqualGroup>();

  add({ first, end, adapters }: Run): void {
    const group = this.#groupOf(adapters);
    for (let row = first; row < end; row++) group.rows.push(row);
  }

  #groupOf(adapters: readonly WeightedSlot[]): EqualGroup {
    const { slot } = adapters[0]!;
    const known = this.#byFirst.get(slot);
    for (let one = known; one !== undefined; one = one.next) if (areSame(one.adapters, adapters)) return one;
    const group = { rows: [], adapters, next: known };
    this.groups.push(group);
    this.#byFirst.set(slot, group);
    return group;
  }
}

/** Rows share factors where that saves a third of the reads; else more of the device can read at once. Results are the same. */
function cutSmall(groups: readonly RowGroup[]): Pick<RowGroups, 'mostRows' | 'small'> {
  const countOf = (most: number): number => groups.reduce((sum, { rows }) => sum + Math.ceil(rows.length / most), 0);
  let mostRows = 1;
  while (mostRows < SHARED_ROWS && countOf(mostRows) >= 1.5 * countOf(2 * mostRows) && groups.length > 0) mostRows *= 2;
  const small: RowGroup[] = [];
  for (const group of groups) cut(small, group, mostRows);
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

function areSame(some: readonly WeightedSlot[], others: readonly WeightedSlot[]): boolean {
  if (some.length !== others.length) return false;
  for (let i = 0; i < some.length; i++) {
    if (some[i]!.slot !== others[i]!.slot || some[i]!.weight !== others[i]!.weight) return false;
  }
  return true;
}

/** Into groups of so many rows at most. */
function cut(groups: RowGroup[], group: RowGroup, most: number): void {
  const { rows, adapters } = group;
  if (rows.length <= most) groups.push(group);
  else
    for (let done = 0; done < rows.length; done += most) groups.push({ rows: rows.slice(done, done + most), adapters });
}

function cutTiles(tiles: RowGroup[], { first, end, adapters }: Run): void {
  cut(tiles, { rows: Array.from({ length: end - first }, (_, i) => first + i), adapters }, TILE_ROWS);
}

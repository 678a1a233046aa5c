/**
 * The adapters of a value's rows as kernels read them: `struct Use` of kernels/adapters.cuh. What decides launches (the shape)
 * is apart from what they read (the tables), so that a captured step serves every batch of its shape. Pure.
 */

import { assert } from '../../base/assert.ts';
import type { WeightedSlot } from '../step.ts';
import type { CudaAdapterSlot, Reach } from './adapter-slot.ts';
import { groupRows, type RowGroup } from './row-groups.ts';
import type { RowSet } from './row-set.ts';

export const USE_BYTES = 32;

/** The smallest slab of shrunk rows; ranks above it double. */
const SMALLEST_RANK = 16;

export interface UsesShape {
  /** Powers of two, or 0 where no row is of the kind. */
  readonly useCapacity: number;
  readonly tileCapacity: number;
  /** Of a use that is no tile: 1 or 4. */
  readonly rowsPerUse: number;
  /** Of the shrunk rows: 16 times a power of two, or 0 where no adapter has factors. */
  readonly rankCapacity: number;
  /** Where the adapters enter, in the order of their numbers. */
  readonly reaches: readonly Reach[];
}

export function shapeUses(rowSet: RowSet): UsesShape {
  const { mostRows, small, tiles } = groupRows(rowSet);
  const useCount = small.reduce((sum, { adapters }) => sum + adapters.length, 0);
  const slots = [...small, ...tiles].flatMap(({ adapters }) => adapters.map(({ slot }) => slot as CudaAdapterSlot));
  const largestRank = Math.max(0, ...slots.map((slot) => slot.largestRank));
  const reaches = [...new Set(slots.map(({ reach }) => reach))];
  return {
    useCapacity: capacityFor(useCount, 1),
    tileCapacity: capacityFor(tiles.length, 1),
    rowsPerUse: mostRows,
    rankCapacity: capacityFor(largestRank, SMALLEST_RANK),
    reaches: reaches.toSorted((a, b) => a.number - b.number),
  };
}

/** The same for two shapes exactly where their launches are the same. */
export function usesKey({ useCapacity, tileCapacity, rowsPerUse, rankCapacity, reaches }: UsesShape): string {
  return [useCapacity, tileCapacity, rowsPerUse, rankCapacity, ...reaches.map(({ number }) => number)].join('/');
}

export function byteLengthOf({ useCapacity, tileCapacity }: UsesShape): number {
  return (useCapacity + tileCapacity) * USE_BYTES;
}

/**
 * `[useCapacity + tileCapacity]`: the first uses of groups of rows, then their other ones, then the tiles; each kind padded to its
 * capacity with uses that do nothing.
 */
export function packUses(rowSet: RowSet, shape: UsesShape): Uint8Array {
  const { small, tiles } = groupRows(rowSet);
  const table = new UseTable(byteLengthOf(shape));
  for (const [index, group] of small.entries()) table.put(index, group, 0);
  let end = small.length;
  for (const [index, group] of small.entries()) {
    let last = index;
    for (let i = 1; i < group.adapters.length; i++) {
      table.put(end, group, i);
      table.link(last, end);
      last = end++;
    }
  }
  assert(
    end <= shape.useCapacity && tiles.length <= shape.tileCapacity,
    'the uses of rows fit the shape of their step',
  );
  for (const [index, tile] of tiles.entries()) table.put(shape.useCapacity + index, tile, 0);
  return table.bytes;
}

class UseTable {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(byteLength: number) {
    this.bytes = new Uint8Array(byteLength);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** The group's adapter number `i` as use `index`. */
  put(index: number, { row, rowCount, adapters }: RowGroup, i: number): void {
    const { slot, weight } = adapters[i] as WeightedSlot;
    const { table, entryCount } = slot as CudaAdapterSlot;
    const at = index * USE_BYTES;
    this.#view.setBigUint64(at, table, true);
    this.#view.setInt32(at + 8, entryCount, true);
    this.#view.setFloat32(at + 12, weight, true);
    this.#view.setInt32(at + 16, row, true);
    this.#view.setInt32(at + 20, rowCount, true);
    this.#view.setInt32(at + 28, Number(i === 0), true);
  }

  /** The rows of use `index` have a further one. */
  link(index: number, next: number): void {
    this.#view.setInt32(index * USE_BYTES + 24, next, true);
  }
}

function capacityFor(count: number, smallest: number): number {
  return count === 0 ? 0 : Math.max(smallest, 2 ** Math.ceil(Math.log2(count)));
}

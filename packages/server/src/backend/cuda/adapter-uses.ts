/**
 * The adapters of a value's rows as kernels read them: `struct Use` of kernels/adapters.cuh. What decides launches (the shape)
 * is apart from what they read (the tables), so that a captured step serves every batch of its shape. Pure.
 */

import { assert } from '../../base/assert.ts';
import type { WeightedSlot } from '../step.ts';
import type { CudaAdapterSlot, Reach } from './adapter-slot.ts';
import { groupRows, SHARED_ROWS, type RowGroup } from './row-groups.ts';
import type { RowSet } from './row-set.ts';

export const USE_BYTES = 64;

/** Of a share of a use, at most. */
export const SHARE_RANKS = 8;

/** The smallest slab of a tile's shrunk rows; ranks above it double. */
const SMALLEST_RANK = 16;

export interface UsesShape {
  /** Shares of uses that are no tiles, and tiles: powers of two, or 0 where no row is of the kind. */
  readonly shareCapacity: number;
  readonly tileCapacity: number;
  /** Of a share: 1, 2 or 4. */
  readonly rowsPerShare: number;
  /** Whether any share is one of factors. */
  readonly hasShrunkShares: boolean;
  /** Of the tiles' shrunk rows: 16 times a power of two, or 0 where no tile's adapter has factors. */
  readonly rankCapacity: number;
  /** Where the adapters enter, in the order of their numbers. */
  readonly reaches: readonly Reach[];
}

export function shapeUses(rowSet: RowSet): UsesShape {
  const { mostRows, small, tiles } = groupRows(rowSet);
  const [smallSlots, tileSlots] = [slotsOf(small), slotsOf(tiles)];
  const shareCount = smallSlots.reduce((sum, slot) => sum + countShares(slot), 0);
  const reaches = [...new Set([...smallSlots, ...tileSlots].map(({ reach }) => reach))];
  return {
    shareCapacity: capacityFor(shareCount, 1),
    tileCapacity: capacityFor(tiles.length, 1),
    rowsPerShare: mostRows,
    hasShrunkShares: smallSlots.some(({ largestRank }) => largestRank > 0),
    rankCapacity: capacityFor(Math.max(0, ...tileSlots.map(({ largestRank }) => largestRank)), SMALLEST_RANK),
    reaches: reaches.toSorted((a, b) => a.number - b.number),
  };
}

/** The same for two shapes exactly where their launches are the same. */
export function usesKey(shape: UsesShape): string {
  const { shareCapacity, tileCapacity, rowsPerShare, hasShrunkShares, rankCapacity, reaches } = shape;
  const numbers = [shareCapacity, tileCapacity, rowsPerShare, Number(hasShrunkShares), rankCapacity];
  return [...numbers, ...reaches.map(({ number }) => number)].join('/');
}

export function byteLengthOf({ shareCapacity, tileCapacity }: UsesShape): number {
  return (shareCapacity + tileCapacity) * USE_BYTES;
}

/**
 * `[shareCapacity + tileCapacity]`: the shares of the first uses of groups of rows, then those of their other ones, then the
 * tiles; each kind padded to its capacity with uses that do nothing.
 */
export function packUses(rowSet: RowSet, shape: UsesShape): Uint8Array {
  const { small, tiles } = groupRows(rowSet);
  const table = new UseTable(byteLengthOf(shape));
  const firsts: number[] = [];
  let end = 0;
  for (const group of small) {
    firsts.push(end);
    end += table.putShares(end, group, 0);
  }
  for (const [index, group] of small.entries()) {
    let last = firsts[index]!;
    for (let i = 1; i < group.adapters.length; i++) {
      table.link(last, countShares(slotOf(group.adapters[i - 1]!)), end);
      last = end;
      end += table.putShares(end, group, i);
    }
  }
  assert(
    end <= shape.shareCapacity && tiles.length <= shape.tileCapacity,
    'the uses of rows fit the shape of their step',
  );
  for (const [index, tile] of tiles.entries()) table.put(shape.shareCapacity + index, tile, 0);
  return table.bytes;
}

class UseTable {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(byteLength: number) {
    this.bytes = new Uint8Array(byteLength);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** The group's adapter number `i` as uses from `index` on. Returns how many. */
  putShares(index: number, group: RowGroup, i: number): number {
    const count = countShares(slotOf(group.adapters[i]!));
    for (let share = 0; share < count; share++) {
      this.put(index + share, group, i);
      this.#view.setInt32((index + share) * USE_BYTES + 44, share, true);
      this.#view.setInt32((index + share) * USE_BYTES + 48, count, true);
    }
    return count;
  }

  /** As use `index`, in one share. */
  put(index: number, { rows, adapters }: RowGroup, i: number): void {
    const { weight } = adapters[i]!;
    const { table, entryCount } = slotOf(adapters[i]!);
    const at = index * USE_BYTES;
    this.#view.setBigUint64(at, table, true);
    this.#view.setInt32(at + 8, entryCount, true);
    this.#view.setFloat32(at + 12, weight, true);
    for (let row = 0; row < SHARED_ROWS; row++) {
      this.#view.setInt32(at + 16 + 4 * row, rows[Math.min(row, rows.length - 1)]!, true);
    }
    this.#view.setInt32(at + 32, rows.length, true);
    this.#view.setInt32(at + 40, Number(i === 0), true);
    this.#view.setInt32(at + 48, 1, true);
  }

  /** The rows of so many shares have a further use. */
  link(index: number, count: number, next: number): void {
    for (let share = 0; share < count; share++) this.#view.setInt32((index + share) * USE_BYTES + 36, next, true);
  }
}

function slotsOf(groups: readonly RowGroup[]): CudaAdapterSlot[] {
  return groups.flatMap(({ adapters }) => adapters.map(slotOf));
}

function slotOf({ slot }: WeightedSlot): CudaAdapterSlot {
  return slot as CudaAdapterSlot;
}

/** One also for an adapter that has no factors. */
function countShares({ largestRank }: CudaAdapterSlot): number {
  return Math.max(1, Math.ceil(largestRank / SHARE_RANKS));
}

function capacityFor(count: number, smallest: number): number {
  return count === 0 ? 0 : Math.max(smallest, 2 ** Math.ceil(Math.log2(count)));
}

/**
 * The uses that a value's rows make of adapters. What decides launches (the shape) is apart from what kernels read (the
 * tables), so that a captured step serves every batch of its shape. Pure.
 */

import { assert } from '../../base/assert.ts';
import type { Reach } from './adapter-slot.ts';
import { groupRows, type RowGroup } from './row-groups.ts';
import type { RowSet } from './row-set.ts';
import { countShares, slotOf, USE_BYTES, UseTable } from './use-table.ts';

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
  const reaches = new Set<Reach>();
  const [ofSmall, ofTiles] = [sumUp(small, reaches), sumUp(tiles, reaches)];
  return {
    shareCapacity: capacityFor(ofSmall.shareCount, 1),
    tileCapacity: capacityFor(tiles.length, 1),
    rowsPerShare: mostRows,
    hasShrunkShares: ofSmall.largestRank > 0,
    rankCapacity: capacityFor(ofTiles.largestRank, SMALLEST_RANK),
    reaches: [...reaches].toSorted((a, b) => a.number - b.number),
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

/** What all adapters of the groups come to; where they enter is added to `reaches`. */
function sumUp(groups: readonly RowGroup[], reaches: Set<Reach>): { shareCount: number; largestRank: number } {
  const sums = { shareCount: 0, largestRank: 0 };
  for (const { adapters } of groups) {
    for (const weighted of adapters) {
      const slot = slotOf(weighted);
      sums.shareCount += countShares(slot);
      sums.largestRank = Math.max(sums.largestRank, slot.largestRank);
      reaches.add(slot.reach);
    }
  }
  return sums;
}

function capacityFor(count: number, smallest: number): number {
  return count === 0 ? 0 : Math.max(smallest, 2 ** Math.ceil(Math.log2(count)));
}

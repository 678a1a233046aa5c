/** Uses of adapters as kernels read them: `struct Use` of kernels/adapters.cuh. Knows no shapes of steps. Pure. */

import type { WeightedSlot } from '../step.ts';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import { SHARED_ROWS, type RowGroup } from './row-groups.ts';

export const USE_BYTES = 64;

/** Of a share of a use, at most. */
export const SHARE_RANKS = 8;

/** Of a use, in the order of its fields; the address takes two and the rows four. */
const USE_INTS = USE_BYTES / Int32Array.BYTES_PER_ELEMENT;
const FIELD = { entryCount: 2, weight: 3, rows: 4, rowCount: 8, next: 9, isFirst: 10, share: 11, shareCount: 12 };

/** Of uses that do nothing, up to where some are put. */
export class UseTable {
  readonly bytes: Uint8Array;
  readonly #ints: Int32Array;
  readonly #floats: Float32Array;
  readonly #addresses: BigUint64Array;

  constructor(byteLength: number) {
    const buffer = new ArrayBuffer(byteLength);
    this.bytes = new Uint8Array(buffer);
    this.#ints = new Int32Array(buffer);
    this.#floats = new Float32Array(buffer);
    this.#addresses = new BigUint64Array(buffer);
  }

  /** The group's adapter number `i` as uses from `index` on. Returns how many. */
  putShares(index: number, group: RowGroup, i: number): number {
    const count = countShares(slotOf(group.adapters[i]!));
    const start = index * USE_INTS;
    this.put(index, group, i);
    this.#ints[start + FIELD.shareCount] = count;
    for (let share = 1; share < count; share++) {
      const at = start + share * USE_INTS;
      this.#ints.copyWithin(at, start, start + USE_INTS);
      this.#ints[at + FIELD.share] = share;
    }
    return count;
  }

  /** As use `index`, in one share. */
  put(index: number, { rows, adapters }: RowGroup, i: number): void {
    const { weight } = adapters[i]!;
    const { table, entryCount } = slotOf(adapters[i]!);
    const at = index * USE_INTS;
    this.#addresses[at / 2] = table;
    this.#ints[at + FIELD.entryCount] = entryCount;
    this.#floats[at + FIELD.weight] = weight;
    for (let row = 0; row < SHARED_ROWS; row++) {
      this.#ints[at + FIELD.rows + row] = rows[Math.min(row, rows.length - 1)]!;
    }
    this.#ints[at + FIELD.rowCount] = rows.length;
    this.#ints[at + FIELD.isFirst] = Number(i === 0);
    this.#ints[at + FIELD.shareCount] = 1;
  }

  /** The rows of so many shares have a further use. */
  link(index: number, count: number, next: number): void {
    for (let share = index; share < index + count; share++) this.#ints[share * USE_INTS + FIELD.next] = next;
  }
}

export function slotOf({ slot }: WeightedSlot): CudaAdapterSlot {
  return slot as CudaAdapterSlot;
}

/** One also for an adapter that has no factors. */
export function countShares({ largestRank }: CudaAdapterSlot): number {
  return Math.max(1, Math.ceil(largestRank / SHARE_RANKS));
}

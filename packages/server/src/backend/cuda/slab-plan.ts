/** Where the intermediate values of a program lie: those that are never needed at the same time share memory. Pure arithmetic. */

import { present } from '../../base/assert.ts';
import { SpanAllocator } from '../../base/span-allocator.ts';

/** What the driver aligns allocations to; enough for every access that a kernel or cuBLAS makes. */
export const SLAB_ALIGNMENT = 256;

/** Above every device. */
const MOST_UNITS = 2 ** 40;

/** Memory for one value from the first operation that names it to the last. */
export interface SlabUse {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

export interface SlabPlan {
  /** Of each slab, in bytes. */
  readonly offsets: readonly number[];
  readonly byteLength: number;
}

/** Of slabs in the order of their first operations. */
export function planSlabs(slabs: readonly SlabUse[]): SlabPlan {
  const space = new SpanAllocator(MOST_UNITS);
  const offsets: number[] = [];
  const ending = new Map<number, { readonly start: number; readonly length: number }[]>();
  let end = 0;
  let operation = 0;
  for (const { bytes, first, last } of slabs) {
    for (; operation < first; operation++) {
      for (const { start, length } of ending.get(operation) ?? []) space.give(start, length);
    }
    const length = unitsOf(bytes);
    const start = present(space.take(length), 'room in an endless space');
    offsets.push(start * SLAB_ALIGNMENT);
    end = Math.max(end, start + length);
    ending.set(last, [...(ending.get(last) ?? []), { start, length }]);
  }
  return { offsets, byteLength: end * SLAB_ALIGNMENT };
}

/** To the next multiple of what slabs are aligned to; never nothing. */
export function alignedBytes(bytes: number): number {
  return unitsOf(bytes) * SLAB_ALIGNMENT;
}

function unitsOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / SLAB_ALIGNMENT));
}

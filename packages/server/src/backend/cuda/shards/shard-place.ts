/** Which part of a divided model a shard has. Pure arithmetic. */

import { assert } from '../../../base/assert.ts';
import type { Span } from '../../../weights/tensor-slice.ts';

/** One of `count` shards. */
export interface ShardPlace {
  readonly index: number;
  readonly count: number;
}

/** Rows of so many numbers of 16 bits begin where kernels can load several at once. */
const UNIT = 8;

/**
 * A shard's part of a dimension: equal ones where the length allows it, so that heads stay whole; else of whole units but the
 * last, and none empty.
 */
export function partOf(length: number, { index, count }: ShardPlace): Span {
  assert(length >= count, `${length} divided among ${count} shards`);
  if (length % count === 0) return { start: (index * length) / count, length: length / count };
  const unit = length >= UNIT * count ? UNIT : 1;
  const units = Math.ceil(length / unit);
  const startOf = (shard: number): number => Math.min(length, Math.floor((units * shard) / count) * unit);
  return { start: startOf(index), length: startOf(index + 1) - startOf(index) };
}

/** An exact part, as heads and what is kept of them are divided. */
export function shareOf(length: number, { count }: ShardPlace): number {
  assert(length % count === 0, `${length} divided evenly among ${count} shards`);
  return length / count;
}

/** A tensor that is resident on all cards of a backend: each shard has a part of it, or a copy. */

import { DTYPE_BYTES, elementCount } from '../../../weights/tensor-view.ts';
import type { Span } from '../../../weights/tensor-slice.ts';
import type { Weight } from '../../backend.ts';
import type { CudaWeight } from '../weights.ts';

export interface ShardedWeight extends Weight {
  /** By shard. */
  readonly parts: readonly CudaWeight[];
}

export function joinParts({ name, shape }: Weight, parts: readonly CudaWeight[]): ShardedWeight {
  return { name, shape, parts };
}

/** What a shard has of it. */
export function partAt(weight: Weight, shard: number): CudaWeight {
  return (weight as ShardedWeight).parts[shard]!;
}

/** Rows of a weight (or elements of a vector) within it: a shard's own, where it has a copy of all of them. */
export function rowsWithin(weight: CudaWeight, { start, length }: Span): CudaWeight {
  const { shape, dtype, address } = weight;
  if (shape[0] === length) return weight;
  const rowBytes = elementCount(shape.slice(1)) * DTYPE_BYTES[dtype];
  return {
    ...weight,
    shape: shape.with(0, length),
    address: address + BigInt(start * rowBytes),
    byteLength: length * rowBytes,
  };
}

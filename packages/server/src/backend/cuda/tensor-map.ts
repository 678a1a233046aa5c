/** How Hopper's copy engine finds parts of an array in memory, in C's terms: `CUtensorMap`. Knows nothing about products. */

import { addressOf, type Pointer } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import { requireSuccess, type Driver } from './driver.ts';

const MAP_BYTES = 128;
const MAP_ALIGNMENT = 64;

/** `CUtensorMapDataType` */
const DATA_TYPE = { float16: 6, bfloat16: 9 } as const satisfies Partial<Record<Dtype, number>>;

const NOT_INTERLEAVED = 0;
/** Rows of 128 bytes in shared memory, as the tensor cores read them without conflicts. */
const SWIZZLE_128 = 3;
/** Of the second-level cache: neighbours come along. */
const PROMOTE_256 = 3;
const ZEROS_BEYOND = 0;

export type HalfDtype = keyof typeof DATA_TYPE;

/** An array of up to five dimensions, the innermost first and dense, and how much of it comes at once. */
export interface TiledArray {
  readonly address: Pointer;
  readonly dtype: HalfDtype;
  readonly sizes: readonly number[];
  /** In bytes, of all dimensions but the innermost: multiples of 16. */
  readonly strides: readonly number[];
  readonly box: readonly number[];
}

/** 128 bytes for a kernel's parameters. Throws GENERATION where the driver takes the array for none of its own. */
export function encodeTensorMap(driver: Driver, { address, dtype, sizes, strides, box }: TiledArray): Uint8Array {
  const memory = new ArrayBuffer(MAP_BYTES + MAP_ALIGNMENT);
  const start = addressOf(memory);
  const skipped = Number(-start & BigInt(MAP_ALIGNMENT - 1));
  const result = driver.encodeTensorMap(
    ...([start + BigInt(skipped), DATA_TYPE[dtype], sizes.length, address] as const),
    ...([BigUint64Array.from(sizes, BigInt), BigUint64Array.from(strides, BigInt)] as const),
    ...([Uint32Array.from(box), new Uint32Array(sizes.length).fill(1)] as const),
    ...([NOT_INTERLEAVED, SWIZZLE_128, PROMOTE_256, ZEROS_BEYOND] as const),
  );
  requireSuccess(result, 'a map of a matrix');
  return new Uint8Array(memory, skipped, MAP_BYTES);
}

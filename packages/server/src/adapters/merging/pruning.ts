/** Keeps a share of a tensor's values and zeroes the rest: the largest, or a random choice. Knows no adapter and no strategy. */

import { markLargest } from './largest.ts';

/** Whether the value at this index stays. */
export type Mask = (index: number) => boolean;

/** Keeps the `floor(density * length)` values of the largest magnitude; among equal ones those that PyTorch keeps. */
export function pruneByMagnitude(values: Float32Array, density: number): Float32Array {
  const keptCount = Math.floor(density * values.length);
  if (keptCount === 0) return new Float32Array(values.length);
  const kept = markLargest(values.map(Math.abs), keptCount);
  return values.map((value, i) => (kept[i] === 1 ? value : 0));
}

/** Keeps the values that the mask chooses, divided by the density, so that their expectation is the whole tensor (DARE). */
export function pruneByMask(values: Float32Array, density: number, isKept: Mask): Float32Array {
  return values.map((value, i) => (isKept(i) ? value / density : 0));
}

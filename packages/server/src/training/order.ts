/** In which order samples are learnt and which are kept for evaluation: a function of the seed alone. */

import { uniformAt } from '../base/philox.ts';

/** Numbers of one shuffle; each has a stretch of the generator's positions to itself. */
const STRETCH = 2 ** 32;
/** The stretch behind every epoch's. */
const SPLIT_STRETCH = 2 ** 20;

export interface Split {
  readonly training: readonly number[];
  readonly evaluation: readonly number[];
}

/** A Fisher-Yates shuffle of 0 to `count` - 1. */
export function shuffled(count: number, seed: bigint, epoch: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(uniformAt(seed, epoch * STRETCH + last) * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}

/** At least one sample is learnt from, and, where a share is asked for, at least one is kept. */
export function split(count: number, evaluationShare: number, seed: bigint): Split {
  const wanted = evaluationShare === 0 ? 0 : Math.max(1, Math.round(count * evaluationShare));
  const kept = Math.min(wanted, count - 1);
  const order = shuffled(count, seed, SPLIT_STRETCH);
  const rising = (indices: number[]): number[] => indices.sort((a, b) => a - b);
  return { training: rising(order.slice(kept)), evaluation: rising(order.slice(0, kept)) };
}

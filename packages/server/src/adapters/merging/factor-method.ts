/**
 * The strategies that merge A with A and B with B: each a way to prune, a way to combine and a way to weigh. Their result
 * is no weighted sum of the adapters: `B' A'` also has the products of one adapter's B with another's A.
 */

import type { MajoritySignMethod, MergeStrategy } from '../../base/adapter-reference.ts';
import { mergeDisjoint, weightedSum } from './combining.ts';
import { type Mask, pruneByMagnitude, pruneByMask } from './pruning.ts';
import { electSigns } from './sign-election.ts';

export interface FactorMethod {
  readonly pruning: 'none' | 'magnitude' | 'random';
  readonly combining: 'sum' | 'disjoint';
  /** `plain`: LoRAX's, the weight on both factors. `root`: PEFT's, the root of weight times scale on both factors. */
  readonly weighing: 'plain' | 'root';
}

export const FACTOR_METHODS = {
  linear: { pruning: 'none', combining: 'sum', weighing: 'plain' },
  ties: { pruning: 'magnitude', combining: 'disjoint', weighing: 'plain' },
  dare_linear: { pruning: 'random', combining: 'sum', weighing: 'plain' },
  dare_ties: { pruning: 'random', combining: 'disjoint', weighing: 'plain' },
  peft_linear: { pruning: 'none', combining: 'sum', weighing: 'root' },
  peft_ties: { pruning: 'magnitude', combining: 'disjoint', weighing: 'root' },
  peft_dare_linear: { pruning: 'random', combining: 'sum', weighing: 'root' },
  peft_dare_ties: { pruning: 'random', combining: 'disjoint', weighing: 'root' },
  magnitude_prune: { pruning: 'magnitude', combining: 'sum', weighing: 'root' },
} as const satisfies Partial<Record<MergeStrategy, FactorMethod>>;

/** Undefined for the strategies that work on whole deltas. */
export function factorMethod(strategy: MergeStrategy): FactorMethod | undefined {
  return (FACTOR_METHODS as Partial<Record<MergeStrategy, FactorMethod>>)[strategy];
}

export function needsDensity(strategy: MergeStrategy): boolean {
  return (factorMethod(strategy)?.pruning ?? 'none') !== 'none';
}

export interface FactorOptions {
  /** 1 prunes nothing. */
  readonly density: number;
  readonly majoritySign: MajoritySignMethod;
  /** The random choice among a tensor's values. */
  readonly mask: (values: Float32Array) => Mask;
}

/** One factor of all members, `tensors` of one shape, into one. */
export function mergeFactor(
  { pruning, combining }: FactorMethod,
  tensors: readonly Float32Array[],
  weights: readonly number[],
  { density, majoritySign, mask }: FactorOptions,
): Float32Array {
  const pruned = tensors.map((values) => {
    if (density >= 1 || pruning === 'none') return values;
    return pruning === 'magnitude' ? pruneByMagnitude(values, density) : pruneByMask(values, density, mask(values));
  });
  if (combining === 'sum') return weightedSum(pruned, weights);
  return mergeDisjoint(pruned, weights, electSigns(pruned, majoritySign));
}

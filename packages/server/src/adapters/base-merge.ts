/**
 * What an adapter adds to each weight of the base when it is merged into it for good. Low-rank products only: whatever
 * else an adapter brings is refused by name. Knows no device.
 */

import type { AdapterTensors, LowRankFactors, LowRankTensors } from '../backend/adapters.ts';
import type { TensorView } from '../weights/tensor-view.ts';
import { adapterInvalid } from './adapter-invalid.ts';

/** By the path of a place. Throws ADAPTER_INVALID naming a tensor that cannot be added to a weight. */
export function baseMerge(
  { lowRank, replacements, weights }: AdapterTensors,
  adapterId: string,
): ReadonlyMap<string, LowRankFactors> {
  if (weights.length > 0) throw adapterInvalid(adapterId, 'its Medusa heads cannot be added to the base');
  for (const { weight, bias } of replacements) {
    if (weight) throw unmergeable(adapterId, weight, 'takes the place of a whole weight of the base');
    if (bias) throw unmergeable(adapterId, bias, 'takes the place of a bias of the base');
  }
  for (const { bias } of lowRank) if (bias) throw unmergeable(adapterId, bias, 'is a bias of the low-rank product');
  return new Map(lowRank.map((factors) => [factors.at.path, ofWeight(factors)]));
}

/** The token table is `[vocab, hidden]` and looks rows up: it gains `(B A)^T`. */
function ofWeight({ at, rank, scale, a, b, magnitude }: LowRankTensors): LowRankFactors {
  if (at.kind === 'linear') return { rank, scale, a, b, magnitude };
  return { rank, scale, a: transposed(b), b: transposed(a), magnitude };
}

function transposed(view: TensorView): TensorView {
  return { ...view, shape: view.shape.toReversed(), strides: view.strides.toReversed() };
}

function unmergeable(adapterId: string, { name }: TensorView, what: string): Error {
  const reason = `tensor ${name} ${what}; --merge-adapter-weights adds low-rank products to weights, nothing else`;
  return adapterInvalid(adapterId, reason);
}

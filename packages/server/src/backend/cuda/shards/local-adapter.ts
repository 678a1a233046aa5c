/** An adapter as one shard holds it: factors, magnitudes, biases and whole weights divided as the places where they enter. Pure. */

import { sliceTensor } from '../../../weights/tensor-slice.ts';
import type { TensorView } from '../../../weights/tensor-view.ts';
import type { AdapterTensors, LowRankTensors, ReplacementTensors } from '../../adapters.ts';
import type { EmbeddingTable, Projection } from '../../backend.ts';
import type { LocalPlaces } from './local-places.ts';
import { partOf, type ShardPlace } from './shard-place.ts';

/** The table and what has no split are on every shard as they are. */
export function localAdapter({ lowRank, replacements, weights }: AdapterTensors, places: LocalPlaces): AdapterTensors {
  return {
    lowRank: lowRank.map((factors) => localFactors(factors, places)),
    replacements: replacements.map((replacement) => localReplacement(replacement, places)),
    weights: weights.map((view) => localOwnWeight(view, places.shard)),
  };
}

/** B's rows beside outputs that are divided, A's columns beside inputs that are: a sum of such products needs no bias twice. */
function localFactors(factors: LowRankTensors, places: LocalPlaces): LowRankTensors {
  const { a, b, magnitude, bias } = factors;
  const at = localPlace(factors.at, places);
  const cut = cutterOf(factors.at, places.shard);
  if (splitOf(factors.at) === 'inputs')
    return { ...factors, at, a: cut(a, 1), bias: places.addsOnce ? bias : undefined };
  return { ...factors, at, b: cut(b, 0), magnitude: magnitude && cut(magnitude, 0), bias: bias && cut(bias, 0) };
}

function localReplacement(replacement: ReplacementTensors, places: LocalPlaces): ReplacementTensors {
  const { weight, bias } = replacement;
  const at = localPlace(replacement.at, places);
  const cut = cutterOf(replacement.at, places.shard);
  if (splitOf(replacement.at) === 'inputs') {
    return { at, weight: weight && cut(weight, 1), bias: places.addsOnce ? bias : undefined };
  }
  return { at, weight: weight && cut(weight, 0), bias: bias && cut(bias, 0) };
}

/** Matrices of draft heads are divided by rows, as their projections are; vectors are small. */
function localOwnWeight(view: TensorView, shard: ShardPlace): TensorView {
  return view.shape.length === 2 ? sliceTensor(view, 0, partOf(view.shape[0]!, shard)) : view;
}

function localPlace<T extends Projection | EmbeddingTable>(at: T, places: LocalPlaces): Projection | EmbeddingTable {
  return at.kind === 'linear' ? places.projection(at) : places.table(at);
}

function splitOf(at: Projection | EmbeddingTable): Projection['split'] {
  return at.kind === 'linear' ? at.split : undefined;
}

/** Cuts one dimension of a tensor as the place is divided; whole where it is not. */
function cutterOf(
  at: Projection | EmbeddingTable,
  shard: ShardPlace,
): (view: TensorView, dimension: number) => TensorView {
  if (splitOf(at) === undefined) return (view) => view;
  return (view, dimension) => sliceTensor(view, dimension, partOf(view.shape[dimension]!, shard));
}

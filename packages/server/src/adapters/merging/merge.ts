/**
 * Several LoRA adapters become the tensors of one, in memory of its own. Each adapter's own scale is part of its values,
 * so the result's is 1. Knows no cache: the same members, recipe and seed give the same values, in any order.
 */

import { setImmediate } from 'node:timers/promises';
import type { MergeRecipe } from '../../base/adapter-reference.ts';
import { assert, present } from '../../base/assert.ts';
import { invalidField } from '../../base/errors.ts';
import type { AdapterTensors, LowRankTensors } from '../../backend/adapters.ts';
import { ownFloats } from '../../weights/owned-tensor.ts';
import type { TensorView } from '../../weights/tensor-view.ts';
import { isFiniteTensor, readFloats } from '../../weights/values.ts';
import { adapterInvalid } from '../adapter-invalid.ts';
import { truncateSum } from './delta-svd.ts';
import { type FactorMethod, factorMethod, mergeFactor } from './factor-method.ts';
import { checkMergeable, MERGE_FIELD, type MergeMember, type MergePart, partsByPath } from './mergeable.ts';
import type { Mask } from './pruning.ts';
import { randomMask } from './random-mask.ts';

/** What the merge of one place needs beside its parts. */
interface MergeContext {
  readonly recipe: MergeRecipe;
  readonly seed: bigint;
  /** Largest rank of any member at any place. */
  readonly maxRank: number;
}

interface MergedFactors {
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/**
 * Reads the members' tensors until it settles; other work runs between the places. Throws what `checkMergeable` throws,
 * and ADAPTER_INVALID for values that are not finite; an aborted signal rejects with its reason. `cat` is no merge of
 * tensors and not taken.
 */
export async function mergeAdapters(
  members: readonly MergeMember[],
  recipe: MergeRecipe,
  seed: bigint,
  signal: AbortSignal,
): Promise<AdapterTensors> {
  assert(recipe.strategy !== 'cat', 'cat is several adapters on one row');
  checkMergeable(members, recipe);
  const ranks = members.flatMap(({ tensors }) => tensors.lowRank.map(({ rank }) => rank));
  const context = { recipe, seed, maxRank: Math.max(...ranks) };
  const lowRank: LowRankTensors[] = [];
  for (const parts of partsByPath(members).values()) {
    signal.throwIfAborted();
    lowRank.push(mergePlace(parts.toSorted(byMember), context));
    await setImmediate();
  }
  signal.throwIfAborted();
  return { lowRank, replacements: [], weights: [] };
}

function mergePlace(parts: readonly MergePart[], context: MergeContext): LowRankTensors {
  const { at } = present(parts[0], 'a member at the place').factors;
  const method = factorMethod(context.recipe.strategy);
  const { rank, a, b } = method ? mergeFactors(method, parts, context) : truncateDeltas(parts, context);
  const inFeatures = at.kind === 'linear' ? at.inFeatures : at.vocabSize;
  const outFeatures = at.kind === 'linear' ? at.outFeatures : at.hiddenSize;
  return {
    ...{ at, rank, scale: 1, magnitude: undefined, bias: undefined },
    a: finiteResult(`${at.path}.lora_A`, [rank, inFeatures], a),
    b: finiteResult(`${at.path}.lora_B`, [outFeatures, rank], b),
  };
}

/** Sums of the same numbers in another order may differ in their last bit. */
function byMember({ member: a }: MergePart, { member: b }: MergePart): number {
  if (a.id !== b.id) return a.id < b.id ? -1 : 1;
  return a.weight - b.weight;
}

function mergeFactors(method: FactorMethod, parts: readonly MergePart[], context: MergeContext): MergedFactors {
  const { density, majoritySign } = context.recipe;
  const merged = (factor: 'a' | 'b'): Float32Array => {
    const tensors = parts.map((part) => readFactor(part, factor, method));
    const weights = parts.map((part) => factorWeight(part, factor, method));
    const stream = `${context.seed} ${parts[0]?.factors.at.path} ${factor}`;
    const mask = (values: Float32Array): Mask => randomMask(stream, values, density ?? 1);
    return mergeFactor(method, tensors, weights, { density: density ?? 1, majoritySign, mask });
  };
  return { rank: present(parts[0], 'a member at the place').factors.rank, a: merged('a'), b: merged('b') };
}

/** LoRAX's formulas take tensors that have their scale in them; PEFT's have it in the weights. */
function readFactor({ member, factors }: MergePart, factor: 'a' | 'b', { weighing }: FactorMethod): Float32Array {
  const values = finiteFloats(member, factors[factor]);
  return factor === 'b' && weighing === 'plain' ? values.map((value) => value * factors.scale) : values;
}

/** Of a negative product PEFT gives the sign to A alone; two would cancel. */
function factorWeight({ member, factors }: MergePart, factor: 'a' | 'b', { weighing }: FactorMethod): number {
  if (weighing === 'plain') return member.weight;
  const product = member.weight * factors.scale;
  const root = Math.sqrt(Math.abs(product));
  return factor === 'a' && product < 0 ? -root : root;
}

function truncateDeltas(parts: readonly MergePart[], { maxRank }: MergeContext): MergedFactors {
  const deltas = parts.map(({ member, factors }) => ({
    rank: factors.rank,
    factor: member.weight * factors.scale,
    a: finiteFloats(member, factors.a),
    b: finiteFloats(member, factors.b),
  }));
  return truncateSum(deltas, maxRank);
}

/** Pruning would drop a NaN, and a sum would spread it. */
function finiteFloats({ id }: MergeMember, view: TensorView): Float32Array {
  if (!isFiniteTensor(view)) throw adapterInvalid(id, `${view.name} holds values that are not finite numbers`);
  return readFloats(view);
}

function finiteResult(name: string, shape: readonly number[], values: Float32Array): TensorView {
  if (!values.every(Number.isFinite)) {
    throw invalidField(MERGE_FIELD, `gives values that are not finite numbers at ${name}; use smaller weights`);
  }
  return ownFloats(name, shape, values);
}

/**
 * The tokens of one row that may still be chosen, in vocabulary order, with their weights; narrowed by top-k, top-p and
 * typical-p, then drawn from. A token's weight is e^((score - peak) / temperature), 1 for the best: probabilities are
 * weights over their total, so that no stage has to renormalise. Owns its memory and reuses it from row to row.
 */

import { assert } from '../../base/assert.ts';
import { BestSelector } from './best-selector.ts';
import { expNonPositive } from './exponential.ts';
import { PrefixSelector, type PrefixEnd } from './prefix-selector.ts';

export interface ScoredToken {
  readonly id: number;
  /** Natural logarithm of the probability among the candidates; finite. */
  readonly logprob: number;
}

/** Parallel, in vocabulary order; the first `count` entries are in use. */
interface Columns {
  readonly ids: Int32Array;
  readonly scores: Float32Array;
  readonly weights: Float64Array;
}

/** Up to here a heap finds the k-th best score fastest; beyond, its cost grows with k, and a radix descent's does not. */
const HEAP_TOP_K = 1000;

const LOWEST_FINITE = -Number.MAX_VALUE;

/** Anything colder leaves the best score alone just the same, but the exponents of the others would overflow. */
const LOWEST_TEMPERATURE = 1e-200;

export class Candidates {
  readonly #columns: Columns;
  readonly #best: BestSelector;
  readonly #prefix: PrefixSelector;
  #count = 0;
  #total = 0;
  #peak = 0;
  #temperature = 1;

  constructor(vocabSize: number) {
    this.#columns = {
      ids: new Int32Array(vocabSize),
      scores: new Float32Array(vocabSize),
      weights: new Float64Array(vocabSize),
    };
    this.#best = new BestSelector(vocabSize);
    this.#prefix = new PrefixSelector(vocabSize);
  }

  /**
   * Starts over with the `topK` best of `scores` [vocabSize] and all that tie with the last of them (0: all), without
   * those at -Infinity. `peak` is the largest score, finite; `temperature` > 0.
   */
  fill(scores: Float32Array, peak: number, temperature: number, topK: number): void {
    this.#peak = peak;
    this.#temperature = Math.max(temperature, LOWEST_TEMPERATURE);
    this.#count = gather(scores, this.#lowestKept(scores, topK), this.#columns);
    this.#total = weigh(this.#columns, this.#count, peak, this.#temperature);
  }

  /** Keeps the fewest of the likeliest tokens whose probability reaches `topP`, at least one; among equals the lower ids. */
  keepTopP(topP: number): void {
    keyByScore(this.#columns.scores, this.#count, this.#prefix);
    this.#keepUntil(topP * this.#total);
  }

  /**
   * Locally typical sampling (Meister et al., 2022): keeps the fewest tokens whose probability reaches `typicalP`, at
   * least one, in the order of |-log p - H|, where H is the entropy.
   */
  keepTypical(typicalP: number): void {
    // With log p = x - log Z and x = (score - peak) / temperature, -log p - H is the mean of x, minus x.
    const mean = sumWeightedExponents(this.#columns, this.#count, this.#peak, this.#temperature) / this.#total;
    const { keyFloats } = this.#prefix;
    keyByDistance(this.#columns.scores, this.#count, this.#peak, this.#temperature, mean, keyFloats);
    this.#keepUntil(typicalP * this.#total);
  }

  /** The token at which the cumulative probability, in vocabulary order, passes `uniform` in [0, 1). */
  draw(uniform: number): ScoredToken {
    const chosen = findQuantile(this.#columns.weights, this.#count, uniform * this.#total);
    assert(chosen >= 0, 'the best token is always a candidate');
    return this.#scored(chosen);
  }

  /** The `count` likeliest candidates, or all where there are fewer; likeliest first, among equals the lower id. */
  best(count: number): ScoredToken[] {
    const { scores } = this.#columns;
    const positions = this.#best.select(scores, this.#count, Math.min(count, this.#count));
    positions.sort((a, b) => scores[b]! - scores[a]! || a - b);
    return Array.from(positions, (position) => this.#scored(position));
  }

  #lowestKept(scores: Float32Array, topK: number): number {
    if (topK === 0 || topK >= scores.length) return LOWEST_FINITE;
    return Math.max(scores[this.#findKth(scores, topK)]!, LOWEST_FINITE);
  }

  #findKth(scores: Float32Array, k: number): number {
    if (k <= HEAP_TOP_K) return this.#best.select(scores, scores.length, k)[0]!;
    keyByScore(scores, scores.length, this.#prefix);
    return this.#prefix.select(scores.length, this.#columns.weights.fill(1), k).position;
  }

  #keepUntil(weight: number): void {
    const end = this.#prefix.select(this.#count, this.#columns.weights, weight);
    this.#count = compact(this.#columns, this.#count, this.#prefix.keys, end);
    this.#total = sum(this.#columns.weights, this.#count);
  }

  #scored(position: number): ScoredToken {
    const { ids, scores } = this.#columns;
    const exponent = exponentOf(scores[position]!, this.#peak, this.#temperature);
    return { id: ids[position]!, logprob: exponent - Math.log(this.#total) };
  }
}

// The loops over a row are functions of plain arrays: twice as fast as methods that reach them through fields.

function exponentOf(score: number, peak: number, temperature: number): number {
  return (score - peak) / temperature;
}

/** Takes the scores from `lowest` up; returns how many there are. */
function gather(scores: Float32Array, lowest: number, { ids, scores: kept }: Columns): number {
  let count = 0;
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id]!;
    if (score < lowest) continue;
    ids[count] = id;
    kept[count++] = score;
  }
  return count;
}

/** Fills `weights` and returns their sum. */
function weigh({ scores, weights }: Columns, count: number, peak: number, temperature: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) {
    const weight = expNonPositive(exponentOf(scores[i]!, peak, temperature));
    weights[i] = weight;
    total += weight;
  }
  return total;
}

/** Keys that grow as scores fall. */
function keyByScore(scores: Float32Array, count: number, { keys, keyFloats }: PrefixSelector): void {
  for (let i = 0; i < count; i++) {
    // Adding 0 makes one score of -0 and 0.
    keyFloats[i] = scores[i]! + 0;
    // As an integer a float's bits grow with its size, which is the wrong way round for negative ones.
    const bits = keys[i]!;
    keys[i] = ~(bits ^ ((bits >> 31) & 0x7fffffff));
  }
}

/** Keys that grow with the distance of an exponent from `mean`, as the bits of floats >= 0 do. */
function keyByDistance(
  scores: Float32Array,
  count: number,
  peak: number,
  temperature: number,
  mean: number,
  keys: Float32Array,
): void {
  for (let i = 0; i < count; i++) keys[i] = Math.abs(mean - exponentOf(scores[i]!, peak, temperature));
}

function sumWeightedExponents({ scores, weights }: Columns, count: number, peak: number, temperature: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[i]! * exponentOf(scores[i]!, peak, temperature);
  return total;
}

/** Drops what comes after `end`, keeping the order; returns how many are left. */
function compact({ ids, scores, weights }: Columns, count: number, keys: Int32Array, end: PrefixEnd): number {
  const { key: lastKey, position: lastPosition } = end;
  let kept = 0;
  for (let i = 0; i < count; i++) {
    if (keys[i]! > lastKey || (keys[i]! === lastKey && i > lastPosition)) continue;
    ids[kept] = ids[i]!;
    scores[kept] = scores[i]!;
    weights[kept++] = weights[i]!;
  }
  return kept;
}

function sum(weights: Float64Array, count: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[i]!;
  return total;
}

/** The first position at which the running sum passes `target`, never one without weight, however the sum was rounded. */
function findQuantile(weights: Float64Array, count: number, target: number): number {
  let found = -1;
  let reached = 0;
  for (let i = 0; i < count && reached <= target; i++) {
    if (weights[i]! === 0) continue;
    found = i;
    reached += weights[i]!;
  }
  return found;
}

/**
 * The soft watermark of Kirchenbauer et al. (2023): the last token seeds a permutation of the vocabulary, whose first
 * part is "green" and gets a bonus. A detector needs `greenList` alone.
 *
 * LoRAX permutes with torch's generator, which nothing else can reproduce; here it is a Fisher-Yates shuffle over
 * MurmurHash3's 32-bit finaliser of a counter, so text of one system is not detected by the other. The list is made
 * anew for each token: 0.4 ms for a row of 32 000 scores on the machine of sampler.ts, against megabytes for a cache.
 */

import { assert, present } from '../../base/assert.ts';
import type { LogitsProcessor } from './logits-processor.ts';

export interface WatermarkOptions {
  /** The green part of the vocabulary, 0 to 1. */
  readonly gamma: number;
  /** What a green token's score gains. */
  readonly delta: number;
}

/** The hash key of the published method, a large prime. */
const HASH_KEY = 15485863;
const GOLDEN_RATIO = 0x9e3779b9;

/** `permutation` [vocabSize] is scratch, shared between sequences. */
export function watermark(options: WatermarkOptions, permutation: Int32Array): LogitsProcessor {
  return {
    apply(logits, history) {
      assert(logits.length === permutation.length, 'the watermark covers the vocabulary');
      const last = present(history.last, 'the token before the one to be chosen');
      const green = greenList(last, options.gamma, permutation);
      for (let i = 0; i < green.length; i++) logits[green[i]!]! += options.delta;
    },
  };
}

/**
 * The ids favoured after `lastToken`: the first int(gamma * vocabSize) of its permutation. Shuffles only so many
 * places, in `permutation` [vocabSize], of which the result is a view.
 */
export function greenList(lastToken: number, gamma: number, permutation: Int32Array): Int32Array {
  const vocabSize = permutation.length;
  const greenCount = Math.trunc(vocabSize * gamma);
  for (let i = 0; i < vocabSize; i++) permutation[i] = i;
  let state = Math.imul(lastToken, HASH_KEY);
  for (let i = 0; i < greenCount; i++) {
    state = (state + GOLDEN_RATIO) | 0;
    const j = i + Math.floor((mix(state) / 2 ** 32) * (vocabSize - i));
    const swapped = permutation[j]!;
    permutation[j] = permutation[i]!;
    permutation[i] = swapped;
  }
  return permutation.subarray(0, greenCount);
}

/** MurmurHash3's finaliser: a bijection of 32 bits in which each input bit moves about half of the output bits. */
function mix(value: number): number {
  let x = value;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Log-probabilities of a row of scores [vocabSize], and the checks that it has any. Writes nothing. */

import { LoraxError } from '../../base/errors.ts';
import { expNonPositive } from './exponential.ts';

export interface Peak {
  /** The lowest id among the largest scores. */
  readonly id: number;
  readonly score: number;
  /** The second largest score, equal to `score` in a tie; -Infinity where there is none. */
  readonly runnerUp: number;
}

/** Throws GENERATION unless every score is finite: NaN compares false with everything and would be chosen or lost by luck. */
export function requireFinite(logits: Float32Array): void {
  // A finite number minus itself is 0, anything else NaN, which then stays: no branch in the loop.
  let zero = 0;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i]!;
    zero += logit - logit;
  }
  if (zero !== 0) throw new LoraxError('GENERATION', { reason: 'the model gave a score that is not a finite number' });
}

/** Throws GENERATION when no score is finite, which is what an extreme penalty leaves behind. */
export function findPeak(scores: Float32Array): Peak {
  let id = -1;
  let score = -Infinity;
  let runnerUp = -Infinity;
  for (let i = 0; i < scores.length; i++) {
    const candidate = scores[i]!;
    if (!(candidate > runnerUp)) continue;
    runnerUp = Math.min(candidate, score);
    if (candidate > score) {
      score = candidate;
      id = i;
    }
  }
  if (!Number.isFinite(score)) throw new LoraxError('GENERATION', { reason: 'no token is left to choose from' });
  return { id, score, runnerUp };
}

/** log of the sum of e^(score - peak), at least 0: what `score - peak` lacks to be a log-probability. */
export function logSumExp(scores: Float32Array, peak: number): number {
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += expNonPositive(scores[i]! - peak);
  return Math.log(sum);
}

/** The model's own log-probability of `id`, for prompt tokens. Throws GENERATION when a logit is not finite. */
export function logProbability(logits: Float32Array, id: number): number {
  requireFinite(logits);
  const peak = findPeak(logits).score;
  return logits[id]! - peak - logSumExp(logits, peak);
}

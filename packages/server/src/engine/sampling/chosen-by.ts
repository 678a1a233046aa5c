/** Who can choose a request's tokens: the one place that knows what a device can do in the sampler's place. */

import { isSampling, type SamplingParams } from './params.ts';

/**
 * `arg-max`: the likeliest token of the raw logits, with their log-softmax. `draw`: a draw from the raw logits by
 * temperature, top-k and top-p. `sampler`: anything else, on the host.
 */
export type ChosenBy = 'arg-max' | 'draw' | 'sampler';

/** `alternatives` is how many are wanted beside each token. */
export function chosenBy(params: SamplingParams, alternatives: number): ChosenBy {
  if (alternatives > 0 || changesScores(params)) return 'sampler';
  if (!isSampling(params)) return 'arg-max';
  return params.typicalP < 1 ? 'sampler' : 'draw';
}

function changesScores({ watermark, repetitionPenalty, frequencyPenalty, presencePenalty }: SamplingParams): boolean {
  return watermark || repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

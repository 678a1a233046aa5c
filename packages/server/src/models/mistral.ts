/** Mistral: Llama without biases, every layer seeing `sliding_window` tokens where one is set. */

import { everyLayer, type Family } from './family.ts';

export const mistral: Family = (config) => ({
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  headNorms: false,
  windows: everyLayer(config, config.sliding_window ?? undefined),
  defaultKvHeadCount: 8,
});

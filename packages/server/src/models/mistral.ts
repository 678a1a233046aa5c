/** Mistral: Llama without biases, every layer seeing `sliding_window` tokens unless that is null. */

import { everyLayer, slidingWindow, type Family } from './family.ts';

export const mistral: Family = (config) => ({
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  headNorms: false,
  windows: everyLayer(config, slidingWindow(config)),
  defaultKvHeadCount: 8,
});

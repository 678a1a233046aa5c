/** Qwen2 and Qwen2.5: biases on q, k and v, always; a sliding window in some layers where it is switched on. */

import { windowByLayer, type Family } from './family.ts';

export const qwen2: Family = (config) => ({
  qkvBias: true,
  outputBias: false,
  mlpBias: false,
  headNorms: false,
  windows: windowByLayer(config),
  defaultKvHeadCount: 32,
});

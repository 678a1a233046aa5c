/** Qwen3: RMS norms on each head of q and k; biases only where the config asks for them. */

import { windowByLayer, type Family } from './family.ts';

export const qwen3: Family = (config) => ({
  qkvBias: config.attention_bias,
  outputBias: config.attention_bias,
  mlpBias: false,
  headNorms: true,
  windows: windowByLayer(config),
  defaultKvHeadCount: 32,
  defaultHeadDim: 128,
});

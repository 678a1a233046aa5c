/** Llama 2, 3 and 3.1+: biases only where the config asks for them. */

import { everyLayer, type Family } from './family.ts';

export const llama: Family = (config) => ({
  qkvBias: config.attention_bias,
  outputBias: config.attention_bias,
  mlpBias: config.mlp_bias,
  headNorms: false,
  windows: everyLayer(config, undefined),
  defaultKvHeadCount: config.num_attention_heads,
});

/** What a model family contributes: how its `config.json` becomes the shared decoder's config. */

import { LoraxError } from '../base/errors.ts';
import { rotaryOf, type ModelConfig } from './config.ts';
import type { DecoderConfig } from './decoder.ts';

/** As transformers' configurations say where the file does not. */
const DEFAULT_WINDOW = 4096;
const DEFAULT_MAX_WINDOW_LAYERS = 28;

/** What a family says about itself; everything else is read alike. */
export interface FamilyTraits {
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  readonly headNorms: boolean;
  readonly windows: readonly (number | undefined)[];
  /** Where the config does not say; null there means one per query head. */
  readonly defaultKvHeadCount: number;
  /** Where the config does not say; undefined shares the hidden size among the heads. */
  readonly defaultHeadDim?: number;
}

export type Family = (config: ModelConfig) => FamilyTraits;

export function decoderConfig(modelId: string, config: ModelConfig, family: Family): DecoderConfig {
  const traits = family(config);
  const headCount = config.num_attention_heads;
  const kvHeadCount = givenOr(config.num_key_value_heads, traits.defaultKvHeadCount) ?? headCount;
  const headDim = givenOr(config.head_dim, traits.defaultHeadDim) ?? config.hidden_size / headCount;
  const require = (condition: boolean, reason: string): void => {
    if (!condition) throw new LoraxError('MODEL_INVALID', { modelId, reason: `config.json: ${reason}` });
  };
  require(config.hidden_act === 'silu', `hidden_act \`${config.hidden_act}\` is not known; known is silu`);
  require(Number.isInteger(headDim) && headDim % 2 === 0, 'head_dim is not an even number');
  require(headCount % kvHeadCount === 0, 'num_attention_heads is not a multiple of num_key_value_heads');
  return {
    vocabSize: config.vocab_size,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    layerCount: config.num_hidden_layers,
    headCount,
    kvHeadCount,
    headDim,
    normEpsilon: config.rms_norm_eps,
    tiedEmbeddings: config.tie_word_embeddings,
    rotary: rotaryOf(modelId, config, headDim),
    qkvBias: traits.qkvBias,
    outputBias: traits.outputBias,
    mlpBias: traits.mlpBias,
    headNorms: traits.headNorms,
    windows: traits.windows,
  };
}

/** Transformers fills in a default where a field is missing; null is a value of its own there. */
function givenOr(given: number | null | undefined, missing: number | undefined): number | undefined {
  return (given === undefined ? missing : given) ?? undefined;
}

/** The window that the config asks for; null there means none. */
export function slidingWindow({ sliding_window: given }: ModelConfig): number | undefined {
  return givenOr(given, DEFAULT_WINDOW);
}

/** The same window, or none, in every layer. */
export function everyLayer(config: ModelConfig, window: number | undefined): (number | undefined)[] {
  return Array.from({ length: config.num_hidden_layers }, () => window);
}

/** A window in the layers that `layer_types` names sliding; older configs slide from `max_window_layers` on. */
export function windowByLayer(config: ModelConfig): (number | undefined)[] {
  const window = config.use_sliding_window ? slidingWindow(config) : undefined;
  return Array.from({ length: config.num_hidden_layers }, (_, layer) => {
    const slides = config.layer_types
      ? config.layer_types[layer] === 'sliding_attention'
      : layer >= (config.max_window_layers ?? DEFAULT_MAX_WINDOW_LAYERS);
    return slides ? window : undefined;
  });
}

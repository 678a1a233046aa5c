/**
 * Reads a Hugging Face `config.json` of the Llama kind, in the forms that transformers 4 and 5 write, and says which field
 * is wrong. Knows nothing about what the families make of it.
 */

import { z } from 'zod';
import { LoraxError } from '../base/errors.ts';
import { makeRotary } from '../layers/rope.ts';
import type { Rotary } from '../backend/backend.ts';

const count = z
  .int()
  .min(1)
  .max(1 << 24);
const maybeCount = count.nullish();

const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  /** Transformers before 4.43. */
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
});

const configSchema = z.looseObject({
  model_type: z.string(),
  architectures: z.array(z.string()).nullish(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(1024),
  num_attention_heads: count,
  num_key_value_heads: maybeCount,
  head_dim: maybeCount,
  max_position_embeddings: count,
  rms_norm_eps: z.number().positive().default(1e-6),
  hidden_act: z.string().default('silu'),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  sliding_window: maybeCount,
  use_sliding_window: z.boolean().optional(),
  max_window_layers: z.int().min(0).nullish(),
  layer_types: z.array(z.string()).nullish(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  dtype: z.string().nullish(),
  torch_dtype: z.string().nullish(),
  eos_token_id: z.union([z.int(), z.array(z.int())]).nullish(),
});

export type ModelConfig = z.infer<typeof configSchema>;

export function parseModelConfig(modelId: string, json: unknown): ModelConfig {
  const parsed = configSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new LoraxError('MODEL_INVALID', { modelId, reason: `config.json: ${issue.path.join('.')}: ${issue.message}` });
}

/** The rotation that the config asks for, whichever of the three spellings it uses. */
export function rotaryOf(modelId: string, config: ModelConfig, headDim: number): Rotary {
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  try {
    return makeRotary({
      type: given.rope_type ?? given.type ?? 'default',
      theta: given.rope_theta ?? config.rope_theta ?? 10000,
      headDim,
      maxPositions: config.max_position_embeddings,
      settings: given as Record<string, number | boolean | undefined>,
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new LoraxError('MODEL_INVALID', { modelId, reason: `config.json: ${error.message}` });
  }
}

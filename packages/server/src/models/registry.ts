/** The model families by `model_type`, and the way from a folder's config to a loaded model. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LoraxError } from '../base/errors.ts';
import { parseModelConfig, type ModelConfig } from './config.ts';
import type { DecoderConfig } from './decoder.ts';
import { decoderConfig, type Family } from './family.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';

const FAMILIES: Readonly<Record<string, Family>> = { llama, mistral, qwen2, qwen3 };

export const MODEL_TYPES: readonly string[] = Object.keys(FAMILIES);

export interface ModelDescription {
  readonly config: ModelConfig;
  readonly decoder: DecoderConfig;
  /** `LlamaForCausalLM` and the like, to compare with what an adapter was trained on. */
  readonly architecture: string;
}

/** Reads `config.json` of a model folder; throws `MODEL_INVALID` with the known types for a type that is not served. */
export async function describeModel(modelId: string, folder: string): Promise<ModelDescription> {
  const config = parseModelConfig(modelId, await readJson(modelId, folder, 'config.json'));
  const family = Object.hasOwn(FAMILIES, config.model_type) ? FAMILIES[config.model_type] : undefined;
  if (family === undefined) {
    const reason = `model_type \`${config.model_type}\` is not known; known are ${MODEL_TYPES.join(', ')}`;
    throw new LoraxError('MODEL_INVALID', { modelId, reason });
  }
  return { config, decoder: decoderConfig(modelId, config, family), architecture: config.architectures?.[0] ?? '' };
}

/** Ids that end a generation: the generation config's, else the model config's, else the tokenizer's own. */
export async function eosTokenIds(
  modelId: string,
  folder: string,
  config: ModelConfig,
  tokenizerEos: readonly number[],
): Promise<readonly number[]> {
  const generation = (await readJson(modelId, folder, 'generation_config.json', {})) as { eos_token_id?: unknown };
  const given = [generation.eos_token_id ?? config.eos_token_id].flat().filter((id) => typeof id === 'number');
  return given.length > 0 ? given : tokenizerEos;
}

async function readJson(modelId: string, folder: string, name: string, fallback?: unknown): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(folder, name), 'utf8'));
  } catch (cause) {
    if (fallback !== undefined && (cause as NodeJS.ErrnoException).code === 'ENOENT') return fallback;
    const reason = cause instanceof SyntaxError ? `${name} is not valid JSON` : `${name} cannot be read`;
    throw new LoraxError('MODEL_INVALID', { modelId, reason }, { cause });
  }
}

/** A LoRA adapter as PEFT saves it, with random factors on all seven projections of every layer. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSafetensors, type TensorToWrite } from '#server/weights/safetensors-writer.ts';
import type { Dtype } from '#server/weights/tensor-view.ts';
import { RandomWords, randomTensor } from './random-tensors.ts';
import { projections, type Shape } from './shapes.ts';

export interface AdapterRecipe {
  readonly rank: number;
  /** Adapters of one rank differ by it. */
  readonly index: number;
}

/** The model that adapters are for. */
export interface AdapterBase {
  readonly shape: Shape;
  readonly modelId: string;
  readonly dtype: Dtype;
}

/** The adapter's id, which is the name of its folder. */
export function adapterId({ rank, index }: AdapterRecipe): string {
  return `rank${rank}-${index}`;
}

/** Fills `folder`, which exists. */
export function writeAdapter(
  folder: string,
  { shape, modelId, dtype }: AdapterBase,
  recipe: AdapterRecipe,
  words: RandomWords = new RandomWords(1 + recipe.index + 1000 * recipe.rank),
): void {
  const { rank } = recipe;
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: modelId,
    r: rank,
    lora_alpha: 2 * rank,
    target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  };
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config));
  writeSafetensors(join(folder, 'adapter_model.safetensors'), adapterTensors(shape, dtype, rank, words));
}

function* adapterTensors(
  shape: Shape,
  dtype: Dtype,
  rank: number,
  words: RandomWords,
): Generator<TensorToWrite, void, undefined> {
  for (const { path, inFeatures, outFeatures } of projections(shape)) {
    yield randomTensor(words, `base_model.model.${path}.lora_A.weight`, dtype, [rank, inFeatures]);
    yield randomTensor(words, `base_model.model.${path}.lora_B.weight`, dtype, [outFeatures, rank]);
  }
}

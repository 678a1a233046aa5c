/** A model folder of a given shape with random weights: config, tokenizer and safetensors. Knows no adapters. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSafetensors, type TensorToWrite } from '#server/weights/safetensors-writer.ts';
import type { Dtype } from '#server/weights/tensor-view.ts';
import { onesTensor, RandomWords, randomTensor } from './random-tensors.ts';
import { tokenizerJson } from './random-tokenizer.ts';
import { projections, type Shape } from './shapes.ts';

const SEED = 0x2545f491;
const CONTEXT_LEN = 2048;

/** Fills `folder`, which exists. */
export function writeModel(
  folder: string,
  shape: Shape,
  dtype: Dtype,
  words: RandomWords = new RandomWords(SEED),
): void {
  writeJson(join(folder, 'config.json'), modelConfig(shape, dtype));
  writeJson(join(folder, 'tokenizer.json'), tokenizerJson(shape.vocabSize));
  writeJson(join(folder, 'tokenizer_config.json'), { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' });
  writeSafetensors(join(folder, 'model.safetensors'), modelTensors(shape, dtype, words));
}

function modelConfig(shape: Shape, dtype: Dtype): object {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    dtype,
    vocab_size: shape.vocabSize,
    hidden_size: shape.hiddenSize,
    intermediate_size: shape.intermediateSize,
    num_hidden_layers: shape.layerCount,
    num_attention_heads: shape.headCount,
    num_key_value_heads: shape.kvHeadCount,
    max_position_embeddings: CONTEXT_LEN,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    hidden_act: 'silu',
    tie_word_embeddings: false,
    eos_token_id: 2,
  };
}

function* modelTensors(shape: Shape, dtype: Dtype, words: RandomWords): Generator<TensorToWrite, void, undefined> {
  const { hiddenSize, vocabSize, layerCount } = shape;
  yield randomTensor(words, 'model.embed_tokens.weight', dtype, [vocabSize, hiddenSize]);
  for (const { path, inFeatures, outFeatures } of projections(shape)) {
    yield randomTensor(words, `${path}.weight`, dtype, [outFeatures, inFeatures]);
  }
  for (let layer = 0; layer < layerCount; layer++) {
    yield onesTensor(`model.layers.${layer}.input_layernorm.weight`, dtype, hiddenSize);
    yield onesTensor(`model.layers.${layer}.post_attention_layernorm.weight`, dtype, hiddenSize);
  }
  yield onesTensor('model.norm.weight', dtype, hiddenSize);
  yield randomTensor(words, 'lm_head.weight', dtype, [vocabSize, hiddenSize]);
}

function writeJson(path: string, value: object): void {
  writeFileSync(path, JSON.stringify(value));
}

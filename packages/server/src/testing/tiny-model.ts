/**
 * A random model of the Llama kind, small enough to be computed in milliseconds: its weights, and a folder with them,
 * its config and a tokenizer whose tokens are bytes. Knows nothing about how a model is computed.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Dtype } from '../weights/tensor-view.ts';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { Random } from './random.ts';

export interface TinyTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array | Float64Array;
}

export type TinyWeights = ReadonlyMap<string, TinyTensor>;

export interface TinyModel {
  /** What stands in `config.json`. */
  readonly config: TinyConfig;
  readonly weights: TinyWeights;
}

export interface TinyConfig {
  readonly [field: string]: unknown;
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly tie_word_embeddings: boolean;
}

/** The bytes, the two special tokens, and ids without a text, as padded vocabularies have them. */
const VOCAB_SIZE = 264;
export const BOS = 256;
export const EOS = 257;

const TINY: TinyConfig = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  vocab_size: VOCAB_SIZE,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
  eos_token_id: EOS,
  bos_token_id: BOS,
};

/** `config` replaces fields of a two-layer Llama; biases and head norms are made where the fields ask for them. */
export function makeTinyModel(config: Readonly<Record<string, unknown>> = {}, seed = 1): TinyModel {
  const whole: TinyConfig = { ...TINY, ...config };
  const random = new Random(seed);
  const weights = new Map<string, TinyTensor>();
  for (const [name, shape] of tensorShapes(whole)) {
    const count = shape.reduce((product, length) => product * length, 1);
    weights.set(name, { shape, values: coarse(random.normals(count, ...distribution(name, shape))) });
  }
  return { config: whole, weights };
}

/** Mean and deviation that keep activations near 1. */
function distribution(name: string, shape: readonly number[]): [mean: number, deviation: number] {
  if (name.endsWith('norm.weight')) return [1, 0.1];
  if (name.endsWith('.bias')) return [0, 0.1];
  return [0, name === 'model.embed_tokens.weight' ? 1 : shape[1]! ** -0.5];
}

function tensorShapes(config: TinyConfig): [name: string, shape: number[]][] {
  const { hidden_size: hidden, intermediate_size: inner, vocab_size: vocab, head_dim: headDim } = config;
  const [q, kv] = [config.num_attention_heads * headDim, config.num_key_value_heads * headDim];
  const family = config['model_type'];
  const attentionBias = config['attention_bias'] === true;
  const linear = (path: string, outFeatures: number, inFeatures: number, hasBias: boolean): [string, number[]][] => [
    [`${path}.weight`, [outFeatures, inFeatures]],
    ...(hasBias ? [[`${path}.bias`, [outFeatures]] as [string, number[]]] : []),
  ];
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => {
    const path = `model.layers.${layer}`;
    const qkv = (name: string, width: number): [string, number[]][] =>
      linear(`${path}.self_attn.${name}_proj`, width, hidden, attentionBias || family === 'qwen2');
    const mlp = (name: string, outFeatures: number, inFeatures: number): [string, number[]][] =>
      linear(`${path}.mlp.${name}_proj`, outFeatures, inFeatures, config['mlp_bias'] === true);
    const headNorms = family === 'qwen3' ? ['q', 'k'].map((of) => `${path}.self_attn.${of}_norm.weight`) : [];
    return [
      [`${path}.input_layernorm.weight`, [hidden]],
      [`${path}.post_attention_layernorm.weight`, [hidden]],
      ...headNorms.map((name) => [name, [headDim]]),
      ...[...qkv('q', q), ...qkv('k', kv), ...qkv('v', kv)],
      ...linear(`${path}.self_attn.o_proj`, hidden, q, attentionBias),
      ...[...mlp('gate', inner, hidden), ...mlp('up', inner, hidden), ...mlp('down', hidden, inner)],
    ] as [string, number[]][];
  });
  return [
    ['model.embed_tokens.weight', [vocab, hidden]],
    ...layers.flat(),
    ['model.norm.weight', [hidden]],
    ...(config.tie_word_embeddings ? [] : linear('lm_head', vocab, hidden, false)),
  ];
}

/** Makes `folder` a model folder as transformers saves one. The weights are the same numbers in every type. */
export function writeTinyModel(folder: string, { config, weights }: TinyModel, dtype: Dtype = 'float32'): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeSafetensors(
    join(folder, 'model.safetensors'),
    [...weights].map(([name, { shape, values }]) => ({ name, dtype, shape, bytes: encode(values, dtype) })),
  );
  for (const [name, content] of Object.entries(TOKENIZER)) writeFileSync(join(folder, name), JSON.stringify(content));
}

/** Little-endian bytes. Exact for values with as few bits as `makeTinyModel` gives them. */
export function encode(values: Float32Array | Float64Array, dtype: Dtype): Uint8Array {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  if (dtype === 'float32') return new Uint8Array(bits.buffer);
  const narrow = dtype === 'bfloat16' ? (word: number): number => word >>> 16 : toFloat16;
  return new Uint8Array(Uint16Array.from(bits, narrow).buffer);
}

/** Of float32. */
const SMALLEST_FLOAT16_BITS = (127 - 14) << 23;

/** From the bits of a float32, which become 0 below float16's normal numbers. */
function toFloat16(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fff_ffff;
  return magnitude < SMALLEST_FLOAT16_BITS ? sign : sign | ((magnitude >>> 13) - ((127 - 15) << 10));
}

/** Cut to bfloat16's eight bits, and to 0 below float16's normal numbers, so that all three types hold the same value. */
function coarse(values: Float32Array): Float32Array {
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = Math.abs(values[i]!) < 2 ** -14 ? 0 : bits[i]! & 0xffff_0000;
  return values;
}

const special = (id: number, content: string): Record<string, unknown> => ({
  ...{ id, content, special: true },
  ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
});

/** Token i is byte i; BOS stands in front of every text that asks for special tokens. */
const TOKENIZER: Readonly<Record<string, unknown>> = {
  'tokenizer.json': {
    version: '1.0',
    added_tokens: [special(BOS, '<bos>'), special(EOS, '<eos>')],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<bos>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<bos>': { id: '<bos>', ids: [BOS], tokens: ['<bos>'] } },
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, merges: [] },
      vocab: { ...byteVocabulary(), '<bos>': BOS, '<eos>': EOS },
    },
  },
  'tokenizer_config.json': { tokenizer_class: 'TokenizersBackend', bos_token: '<bos>', eos_token: '<eos>' },
};

/** GPT-2's spelling: bytes that print stand for themselves, the others take the characters from 256 on. */
function byteVocabulary(): Record<string, number> {
  let next = 256;
  const prints = (byte: number): boolean => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte < 0xad) || byte > 0xad;
  return Object.fromEntries(
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(prints(byte) ? byte : next++), byte]),
  );
}

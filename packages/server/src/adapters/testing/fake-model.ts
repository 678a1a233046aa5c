/** Models without weights and tensor files without bytes: what mapping needs of both. For tests. */

import {
  DTYPE_BYTES,
  elementCount,
  rowMajorStrides,
  type TensorFile,
  type TensorView,
} from '../../weights/tensor-view.ts';
import type { AdaptableModel } from '../lora/lora-weights.ts';
import type { AdapterSite } from '../site.ts';

export interface ModelShape {
  readonly architecture: string;
  readonly layerCount: number;
  readonly hidden: number;
  readonly queryWidth: number;
  readonly keyWidth: number;
  readonly intermediate: number;
  readonly vocabulary: number;
}

export const TINY: ModelShape = {
  architecture: 'LlamaForCausalLM',
  layerCount: 2,
  hidden: 64,
  queryWidth: 64,
  keyWidth: 32,
  intermediate: 112,
  vocabulary: 320,
};

/** The shape that a config.json of the Llama family describes. */
export function shapeOf(config: Readonly<Record<string, unknown>>): ModelShape {
  const number = (name: string, otherwise?: number): number => Number(config[name] ?? otherwise);
  const hidden = number('hidden_size');
  const headCount = number('num_attention_heads');
  const headDim = number('head_dim', hidden / headCount);
  return {
    architecture: String((config['architectures'] as readonly unknown[])[0]),
    layerCount: number('num_hidden_layers'),
    hidden,
    queryWidth: headCount * headDim,
    keyWidth: number('num_key_value_heads', headCount) * headDim,
    intermediate: number('intermediate_size'),
    vocabulary: number('vocab_size'),
  };
}

/** A Llama of this shape; it has norms too, which no adapter can enter. */
export function fakeModel(shape: ModelShape = TINY): AdaptableModel {
  const sites = sitesOf(shape);
  const norms = Array.from({ length: shape.layerCount }, (_, i) => `model.layers.${i}.input_layernorm`);
  const modules = new Set([...sites.map(({ path }) => path), ...norms, 'model.norm']);
  return {
    architecture: shape.architecture,
    layerCount: shape.layerCount,
    sites,
    hasModule: (path) => modules.has(path),
  };
}

function sitesOf({ layerCount, hidden, queryWidth, keyWidth, intermediate, vocabulary }: ModelShape): AdapterSite[] {
  const linear = (path: string, inFeatures: number, outFeatures: number): AdapterSite => ({
    path,
    kind: 'linear',
    inFeatures,
    outFeatures,
  });
  const layer = (i: number): AdapterSite[] => [
    linear(`model.layers.${i}.self_attn.q_proj`, hidden, queryWidth),
    linear(`model.layers.${i}.self_attn.k_proj`, hidden, keyWidth),
    linear(`model.layers.${i}.self_attn.v_proj`, hidden, keyWidth),
    linear(`model.layers.${i}.self_attn.o_proj`, queryWidth, hidden),
    linear(`model.layers.${i}.mlp.gate_proj`, hidden, intermediate),
    linear(`model.layers.${i}.mlp.up_proj`, hidden, intermediate),
    linear(`model.layers.${i}.mlp.down_proj`, intermediate, hidden),
  ];
  return [
    { path: 'model.embed_tokens', kind: 'embedding', inFeatures: vocabulary, outFeatures: hidden },
    ...Array.from({ length: layerCount }, (_, i) => layer(i)).flat(),
    linear('lm_head', hidden, vocabulary),
  ];
}

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Names and shapes as a file; the addresses are of nothing. */
export function fakeTensors(shapes: Shapes): TensorFile {
  const views = new Map(Object.entries(shapes).map(([name, shape], i) => [name, fakeView(name, shape, i)]));
  return {
    names: [...views.keys()],
    get: (name) => views.get(name),
    byteLength: [...views.values()].reduce((sum, { shape }) => sum + elementCount(shape) * DTYPE_BYTES.float32, 0),
    dispose: () => undefined,
  };
}

function fakeView(name: string, shape: readonly number[], index: number): TensorView {
  return { name, dtype: 'float32', shape, strides: rowMajorStrides(shape), address: BigInt(index + 1) << 32n };
}

/** The bytes of an adapter_config.json with these fields. */
export function configBytes(fields: Readonly<Record<string, unknown>>): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ peft_type: 'LORA', ...fields }));
}

/** What PEFT saves for these modules at this rank, before anything is said of biases, magnitudes or copies. */
export function lowRankShapes(sites: readonly AdapterSite[], rankOf: (path: string) => number): Shapes {
  return Object.fromEntries(
    sites.flatMap(({ path, kind, inFeatures, outFeatures }) => {
      const [a, b] = kind === 'linear' ? ['lora_A.weight', 'lora_B.weight'] : ['lora_embedding_A', 'lora_embedding_B'];
      return [
        [`base_model.model.${path}.${a}`, [rankOf(path), inFeatures]],
        [`base_model.model.${path}.${b}`, [outFeatures, rankOf(path)]],
      ];
    }),
  ) as Shapes;
}

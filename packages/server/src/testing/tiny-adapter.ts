/**
 * Random adapters for a tiny model in the form in which PEFT saves them, and the weights that they stand for, worked out
 * explicitly: `W' = W + scale * B A` and what DoRA, biases and replaced modules make of it. Shares no code with the server.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import { Random } from './random.ts';
import { encode, type TinyModel, type TinyTensor, type TinyWeights } from './tiny-model.ts';

const PREFIX = 'base_model.model.';
const EMBEDDING = 'model.embed_tokens';

export interface TinyAdapterOptions {
  readonly rank: number;
  readonly alpha?: number;
  /** Ends of module paths, as PEFT's `target_modules`. */
  readonly targets: readonly string[];
  /** Ranks of modules whose path ends so. */
  readonly ranks?: Readonly<Record<string, number>>;
  readonly rsLora?: boolean;
  readonly dora?: boolean;
  readonly loraBias?: boolean;
  /** The adapter brings its own biases of the targeted modules. */
  readonly trainedBiases?: boolean;
  /** Modules that the adapter brings whole. */
  readonly saved?: readonly string[];
  /** How far the adapter moves outputs; 0.3 is plainly seen in every logit. */
  readonly deviation?: number;
  /** The type of its file; float32 unless told. */
  readonly stored?: Dtype;
}

export interface TinyAdapter {
  /** What stands in `adapter_config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By PEFT's names. */
  readonly tensors: TinyWeights;
  /** Weights of the model with the adapter merged into it. */
  readonly merged: TinyWeights;
}

export function makeTinyAdapter(model: TinyModel, options: TinyAdapterOptions, seed = 7): TinyAdapter {
  const builder = new AdapterBuilder(model, options, new Random(seed));
  const { targets, saved = [] } = options;
  for (const name of [...builder.merged.keys()]) {
    const path = name.replace(/\.weight$/, '');
    if (path !== name && targets.some((target) => isNamed(path, target))) builder.adapt(path);
  }
  for (const name of saved) builder.save(name);
  return { config: configOf(options), tensors: builder.tensors, merged: builder.merged };
}

/** Makes `folder` an adapter folder. */
export function writeTinyAdapter(
  folder: string,
  { config, tensors }: Pick<TinyAdapter, 'config' | 'tensors'>,
  dtype: Dtype = 'float32',
): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config));
  writeSafetensors(
    join(folder, 'adapter_model.safetensors'),
    [...tensors].map(([name, { shape, values }]) => ({
      ...{ name, shape, dtype },
      bytes: encode(values, dtype),
    })),
  );
}

function configOf(options: TinyAdapterOptions): Record<string, unknown> {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: null,
    r: options.rank,
    lora_alpha: options.alpha ?? options.rank,
    target_modules: options.targets,
    rank_pattern: options.ranks ?? {},
    modules_to_save: options.saved ?? null,
    use_rslora: options.rsLora ?? false,
    use_dora: options.dora ?? false,
    lora_bias: options.loraBias ?? false,
    bias: options.trainedBiases ? 'lora_only' : 'none',
  };
}

class AdapterBuilder {
  readonly tensors = new Map<string, TinyTensor>();
  readonly merged: Map<string, TinyTensor>;
  readonly #base: TinyWeights;
  readonly #options: TinyAdapterOptions;
  readonly #random: Random;
  readonly #deviation: number;

  constructor(model: TinyModel, options: TinyAdapterOptions, random: Random) {
    this.#base = model.weights;
    this.merged = new Map(model.weights);
    // With tied weights an adapter of one end leaves the other as it is.
    if (model.config.tie_word_embeddings) this.merged.set('lm_head.weight', model.weights.get(`${EMBEDDING}.weight`)!);
    this.#options = options;
    this.#random = random;
    this.#deviation = options.deviation ?? 0.3;
  }

  adapt(path: string): void {
    const { ranks = {}, rank: rankOfAll, alpha = rankOfAll, rsLora, dora, loraBias, trainedBiases } = this.#options;
    const weight = this.merged.get(`${path}.weight`)!;
    const [outFeatures, inFeatures] = weight.shape as [number, number];
    const rank = Object.entries(ranks).find(([name]) => isNamed(path, name))?.[1] ?? rankOfAll;
    const scale = alpha / (rsLora ? Math.sqrt(rank) : rank);
    // The table is [vocab, hidden] and looks rows up, so it changes by (B A)^T.
    const [width, height] = path === EMBEDDING ? [outFeatures, inFeatures] : [inFeatures, outFeatures];
    const a = this.#random.normals(rank * width, 0, path === EMBEDDING ? 1 : width ** -0.5);
    const b = this.#random.normals(height * rank, 0, this.#deviation / Math.sqrt(rank));
    const [aName, bName] = path === EMBEDDING ? ['embedding_A', 'embedding_B'] : ['A.weight', 'B.weight'];
    this.tensors.set(`${PREFIX}${path}.lora_${aName}`, { shape: [rank, width], values: a });
    this.tensors.set(`${PREFIX}${path}.lora_${bName}`, { shape: [height, rank], values: b });
    const values = Float64Array.from(weight.values);
    for (let out = 0; out < height; out++) {
      for (let i = 0; i < width; i++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += b[out * rank + k]! * a[k * width + i]!;
        values[path === EMBEDDING ? i * height + out : out * width + i]! += scale * sum;
      }
    }
    if (dora) this.#normalise(path, values, outFeatures, inFeatures);
    this.merged.set(`${path}.weight`, { shape: weight.shape, values });
    if (loraBias) this.#addLoraBias(path, outFeatures, scale);
    if (trainedBiases) this.#replace(`${path}.bias`, `${path}.base_layer.bias`, 0.5);
  }

  save(name: string): void {
    const path = name === 'embed_tokens' ? EMBEDDING : name;
    this.#replace(`${path}.weight`, `${path}.weight`, path === EMBEDDING ? 1 : 0.2);
  }

  /** DoRA: each output's row of the adapted weight is brought to the length that the magnitude says. */
  #normalise(path: string, values: Float64Array, outFeatures: number, inFeatures: number): void {
    const magnitude = this.#random.normals(outFeatures, 1, 0.2);
    this.tensors.set(`${PREFIX}${path}.lora_magnitude_vector`, { shape: [outFeatures], values: magnitude });
    for (let out = 0; out < outFeatures; out++) {
      const row = values.subarray(out * inFeatures, (out + 1) * inFeatures);
      const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
      row.forEach((value, i) => (row[i] = (value * magnitude[out]!) / length));
    }
  }

  #addLoraBias(path: string, outFeatures: number, scale: number): void {
    const bias = this.#random.normals(outFeatures, 0, 0.5);
    this.tensors.set(`${PREFIX}${path}.lora_B.bias`, { shape: [outFeatures], values: bias });
    const base = this.#base.get(`${path}.bias`)?.values;
    const values = Float64Array.from(bias, (value, i) => (base?.[i] ?? 0) + scale * value);
    this.merged.set(`${path}.bias`, { shape: [outFeatures], values });
  }

  /** The adapter's own weight or bias, written under `savedName`. */
  #replace(name: string, savedName: string, deviation: number): void {
    const { shape } = this.merged.get(name)!;
    const count = shape.reduce((product, length) => product * length, 1);
    const replacement = { shape, values: this.#random.normals(count, 0, deviation) };
    this.tensors.set(`${PREFIX}${savedName}`, replacement);
    this.merged.set(name, replacement);
  }
}

function isNamed(path: string, name: string): boolean {
  return path === name || path.endsWith(`.${name}`);
}

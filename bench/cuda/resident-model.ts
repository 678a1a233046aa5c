/** A random model on a device, straight on the backend: its steps and its adapters. Knows no requests and no clock. */

import type { AdapterSlot, AdapterTensors } from '#server/backend/adapters.ts';
import type { Backend, Projection } from '#server/backend/backend.ts';
import type { KvStore } from '#server/backend/kv.ts';
import type { MatmulPrecision } from '#server/backend/precision.ts';
import { oneSlot, type StepOutput, type StepSegment } from '#server/backend/step.ts';
import { makeRotary } from '#server/layers/rope.ts';
import { WeightLoader } from '#server/layers/weight-loader.ts';
import { Decoder, type DecoderConfig } from '#server/models/decoder.ts';
import { kvShape, kvTypes } from '#server/serving/limits.ts';
import { DTYPE_BYTES } from '#server/weights/tensor-view.ts';
import { promptTokens } from '../run.ts';
import { parameterCount, type Shape } from '../shapes.ts';
import { layerProjections, type RandomViews } from './random-views.ts';

export interface ModelSize {
  readonly shape: Shape;
  readonly cellCount: number;
  readonly precision: MatmulPrecision;
}

interface ModelParts {
  readonly backend: Backend;
  readonly shape: Shape;
  readonly views: RandomViews;
  readonly decoder: Decoder;
  readonly kv: KvStore;
  /** That adapters change. */
  readonly projections: readonly Projection[];
}

export class ResidentModel {
  readonly shape: Shape;
  readonly kv: KvStore;
  readonly #parts: ModelParts;

  private constructor(parts: ModelParts) {
    this.shape = parts.shape;
    this.kv = parts.kv;
    this.#parts = parts;
  }

  /** The backend stays its caller's. */
  static async load(backend: Backend, views: RandomViews, size: ModelSize): Promise<ResidentModel> {
    const { shape, cellCount, precision } = size;
    const options = { modelId: 'random', dtype: 'bfloat16', onLoaded: () => undefined } as const;
    const loader = new WeightLoader(backend, views, options);
    const config = decoderConfig(shape);
    const decoder = await Decoder.load(loader, config);
    const kv = backend.createKvStore(kvShape(config, kvTypes(undefined, precision), cellCount));
    const projections = layerProjections(loader.places);
    return new ResidentModel({ backend, shape, views, decoder, kv, projections });
  }

  get weightBytes(): number {
    return parameterCount(this.shape) * DTYPE_BYTES.bfloat16;
  }

  /** What a step reads of the weights: of the token table only its rows' tokens. */
  get stepBytes(): number {
    return this.weightBytes - this.shape.vocabSize * this.shape.hiddenSize * DTYPE_BYTES.bfloat16;
  }

  get cellBytes(): number {
    return this.kv.byteLength / this.kv.shape.cellCount;
  }

  /** On all projections of all layers, in host memory. */
  makeAdapter(rank: number): AdapterTensors {
    const { views, projections } = this.#parts;
    return { lowRank: projections.map((at) => views.factors(at, rank)), replacements: [], weights: [] };
  }

  loadAdapter(tensors: AdapterTensors): Promise<AdapterSlot> {
    return this.#parts.backend.loadAdapter(tensors);
  }

  async loadAdapters(ranks: readonly number[]): Promise<AdapterSlot[]> {
    const slots: AdapterSlot[] = [];
    for (const rank of ranks) slots.push(await this.loadAdapter(this.makeAdapter(rank)));
    return slots;
  }

  unload(slots: readonly AdapterSlot[]): void {
    for (const slot of slots) this.#parts.backend.unloadAdapter(slot);
  }

  run(segments: readonly StepSegment[]): Promise<StepOutput> {
    const { backend, decoder } = this.#parts;
    return backend.runStep(decoder, this.kv, segments, { reduce: true, keepHidden: false });
  }

  /** A prompt from the sequence's beginning, with the adapter or none. */
  prompt(sequence: number, length: number, firstCell: number, slot?: AdapterSlot): StepSegment {
    const tokens = promptTokens(sequence, length, this.shape.vocabSize);
    return { tokens, position: 0, firstCell, adapters: oneSlot(slot), outputCount: 1 };
  }

  dispose(): void {
    this.kv.dispose();
  }
}

function decoderConfig(shape: Shape): DecoderConfig {
  const { layerCount, headCount, hiddenSize } = shape;
  const headDim = hiddenSize / headCount;
  return {
    ...shape,
    ...{ headDim, normEpsilon: 1e-5, tiedEmbeddings: false },
    ...{ qkvBias: false, outputBias: false, mlpBias: false, headNorms: false },
    windows: Array.from({ length: layerCount }, () => undefined),
    rotary: makeRotary({ type: 'default', theta: 10_000, headDim, maxPositions: 4096, settings: {} }),
  };
}

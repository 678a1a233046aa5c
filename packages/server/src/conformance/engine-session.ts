/**
 * A model of the set, loaded as the server loads it, with its adapters; answers prompts through the engine. Owns the
 * backend, the weights and the adapters. Knows nothing about what is expected.
 */

import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { AdapterLoader, type LoadedAdapter } from '../adapters/adapter-loader.ts';
import type { AdapterSlot, AdapterTensors } from '../backend/adapters.ts';
import type { Backend } from '../backend/backend.ts';
import { present } from '../base/assert.ts';
import type { StepSegment } from '../backend/step.ts';
import { BaseModel } from '../engine/base-model.ts';
import { BatchMedusaWeights, type HeadRow } from '../engine/drafting/batch-medusa-weights.ts';
import type { MedusaModel } from '../layers/medusa/medusa-model.ts';
import { openBackend, type ChosenDevice } from '../serving/backend.ts';
import { kvShape, kvTypes } from '../serving/limits.ts';
import { findBaseConfig } from '../sources/base-config.ts';
import { BatchRun, type Pace, type Task } from './batch-run.ts';
import type { Answer } from './comparison.ts';
import type { Precision } from './precision.ts';

export interface SessionOptions {
  readonly modelId: string;
  readonly folder: string;
  readonly precision: Precision;
  readonly threads: number;
  readonly device: ChosenDevice;
}

/** Kept from run to run, as a server's are. */
const KERNEL_CACHE = join(tmpdir(), 'lorax-conformance-kernels');

/** Logits of a segment's rows, and of the guesses after each of them one after the other. */
export interface GuessedSegment {
  readonly logits: readonly Float32Array[];
  readonly guesses: readonly Float32Array[];
}

export class EngineSession {
  readonly #backend: Backend;
  readonly #model: BaseModel;
  readonly #precision: Precision;
  readonly #loader: AdapterLoader;

  private constructor(backend: Backend, model: BaseModel, { folder, precision }: SessionOptions) {
    this.#backend = backend;
    this.#model = model;
    this.#precision = precision;
    const { architecture, decoder } = model.description;
    const places = { servedFolder: folder, cacheDir: join(dirname(folder), 'no-hub-cache') };
    this.#loader = new AdapterLoader(backend, {
      id: model.id,
      architecture,
      layerCount: decoder.layerCount,
      places: model.places,
      resolveBase: (name) => findBaseConfig(name, places),
    });
  }

  static async open(options: SessionOptions): Promise<EngineSession> {
    const { modelId, folder, precision, threads, device } = options;
    const settings = {
      threads,
      precision: 'high',
      draftPrecision: 'high',
      ggmlPath: undefined,
      kernelCacheFolder: KERNEL_CACHE,
      signal: new AbortController().signal,
    } as const;
    const backend = await openBackend(device, settings);
    try {
      const { dtype } = precision;
      const model = await BaseModel.load(backend, { modelId, folder, dtype, onProgress: () => undefined });
      return new EngineSession(backend, model, options);
    } catch (error) {
      backend.dispose();
      throw error;
    }
  }

  load(folder: string, adapterId: string): Promise<LoadedAdapter> {
    return this.#loader.load(folder, adapterId, new AbortController().signal);
  }

  async loadAdapter(folder: string, adapterId: string): Promise<AdapterSlot> {
    return (await this.load(folder, adapterId)).slot;
  }

  /** Its tensors in memory, independent of the folder. */
  async readAdapter(folder: string, adapterId: string): Promise<AdapterTensors> {
    const { tensors } = await this.#loader.read(folder, adapterId, new AbortController().signal);
    return tensors;
  }

  placeAdapter(tensors: AdapterTensors): Promise<AdapterSlot> {
    return this.#backend.loadAdapter(tensors);
  }

  unloadAdapter(slot: AdapterSlot): void {
    this.#backend.unloadAdapter(slot);
  }

  /** Answers to the tasks, in their order, computed together as `pace` says. */
  async answer(tasks: readonly Task[], pace: Pace): Promise<Answer[]> {
    const run = new BatchRun({ backend: this.#backend, model: this.#model, dtype: this.#precision.dtype }, tasks, pace);
    try {
      return await run.finish();
    } finally {
      run.dispose();
    }
  }

  async answerOne(task: Task, pace: Pace): Promise<Answer> {
    const [answer] = await this.answer([task], pace);
    return present(answer, 'the answer to a task');
  }

  /** One step of whole prompts, then a draft from every row of a segment by the heads at its place. */
  async guess(segments: readonly StepSegment[], models: readonly MedusaModel[]): Promise<GuessedSegment[]> {
    const headsOf = (segment: number): Pick<HeadRow, 'heads' | 'headCount'> => {
      const heads = models[segment]!;
      return { heads, headCount: heads.headCount };
    };
    const { decoder } = this.#model.description;
    const cellCount = segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const kv = this.#backend.createKvStore(kvShape(decoder, kvTypes(this.#precision.dtype, 'high'), cellCount));
    try {
      const options = { reduce: false, keepHidden: true };
      const output = await this.#backend.runStep(this.#model.decoder, kv, segments, options);
      const logits = segments.map(({ tokens }, segment) => tokens.map((_, row) => output.logits(segment, row).slice()));
      const rows = segments.flatMap(({ tokens, adapters }, segment) =>
        tokens.map((_, row) => ({ ...headsOf(segment), segment, output: row, adapters })),
      );
      const guesses = await new BatchMedusaWeights(rows).logits(this.#backend, this.#model.decoder);
      return logits.map((of, segment) => ({
        logits: of,
        guesses: guesses.filter((_, row) => rows[row]!.segment === segment).flat(),
      }));
    } finally {
      kv.dispose();
    }
  }

  /** All adapters must be unloaded. */
  dispose(): void {
    this.#backend.dispose();
    this.#model.dispose();
  }
}

/**
 * A model of the set, loaded as the server loads it, with its adapters; answers prompts through the engine. Owns the
 * backend, the weights and the adapters. Knows nothing about what is expected.
 */

import { dirname, join } from 'node:path';
import { AdapterLoader } from '../adapters/adapter-loader.ts';
import type { AdapterSlot, AdapterTensors } from '../backend/adapters.ts';
import type { Backend } from '../backend/backend.ts';
import { GgmlBackend } from '../backend/ggml/ggml-backend.ts';
import { present } from '../base/assert.ts';
import { BaseModel } from '../engine/base-model.ts';
import { findBaseConfig } from '../sources/base-config.ts';
import { BatchRun, type Pace, type Task } from './batch-run.ts';
import type { Answer } from './comparison.ts';
import type { Precision } from './precision.ts';

export interface SessionOptions {
  readonly modelId: string;
  readonly folder: string;
  readonly precision: Precision;
  readonly threads: number;
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
    const { modelId, folder, precision, threads } = options;
    const backend = new GgmlBackend({ path: undefined, threads, precision: 'high' });
    try {
      const { dtype } = precision;
      const model = await BaseModel.load(backend, { modelId, folder, dtype, onProgress: () => undefined });
      return new EngineSession(backend, model, options);
    } catch (error) {
      backend.dispose();
      throw error;
    }
  }

  async loadAdapter(folder: string, adapterId: string): Promise<AdapterSlot> {
    const { slot } = await this.#loader.load(folder, adapterId, new AbortController().signal);
    return slot;
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

  /** All adapters must be unloaded. */
  dispose(): void {
    this.#backend.dispose();
    this.#model.dispose();
  }
}

/**
 * Everything behind the HTTP layer, assembled: backend, base model, tokenizer, adapters, scheduler, intake.
 * Created as a whole, disposed as a whole; knows no routes.
 */

import { freemem } from 'node:os';
import { AdapterLoader } from '../adapters/adapter-loader.ts';
import { AdapterStore } from '../adapters/adapter-store.ts';
import type { Backend } from '../backend/backend.ts';
import { GgmlBackend } from '../backend/ggml/ggml-backend.ts';
import type { ServeOptions } from '../config/options.ts';
import { BaseModel } from '../engine/base-model.ts';
import { KvCache } from '../engine/kv-cache.ts';
import { Runner } from '../engine/runner.ts';
import { Sampler } from '../engine/sampling/sampler.ts';
import { SamplingScratch } from '../engine/sampling/scratch.ts';
import { eosTokenIds } from '../models/registry.ts';
import { Intake } from '../scheduler/intake.ts';
import { Scheduler, type SchedulerObserver } from '../scheduler/scheduler.ts';
import type { Generator } from '../scheduler/request.ts';
import { findBaseConfig } from '../sources/base-config.ts';
import type { Sources } from '../sources/source.ts';
import type { Progress } from '../telemetry/progress.ts';
import { openTokenizer } from '../text/hf-tokenizer.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { deriveLimits, kvBytesPerToken, kvShape, type DerivedLimits } from './limits.ts';

export interface EngineObserver extends SchedulerObserver {
  onAdapterLoaded(durationMs: number): void;
  onAdapterLoadFailed(): void;
}

export interface EngineParts {
  readonly options: ServeOptions;
  readonly modelId: string;
  /** The model's folder on this machine. */
  readonly folder: string;
  readonly sources: Sources;
  readonly progress: Progress;
  readonly observer: EngineObserver;
}

export class Engine {
  readonly backend: Backend;
  readonly model: BaseModel;
  readonly tokenizer: Tokenizer;
  readonly limits: DerivedLimits;
  readonly kv: KvCache;
  readonly adapters: AdapterStore;
  readonly scheduler: Scheduler;
  readonly generator: Generator;

  private constructor(
    backend: Backend,
    model: BaseModel,
    tokenizer: Tokenizer,
    eos: readonly number[],
    { options, folder, sources, observer }: EngineParts,
  ) {
    const { decoder, config, architecture } = model.description;
    const kvDtype = options.dtype === 'float32' ? 'float32' : 'float16';
    this.backend = backend;
    this.model = model;
    this.tokenizer = tokenizer;
    this.limits = deriveLimits(options, config.max_position_embeddings, kvBytesPerToken(decoder, kvDtype), freemem());
    this.kv = new KvCache(backend.createKvStore(kvShape(decoder, kvDtype, this.limits.maxBatchTotalTokens)));
    this.adapters = new AdapterStore({
      sources,
      loader: new AdapterLoader(backend, {
        id: model.id,
        architecture,
        layerCount: decoder.layerCount,
        places: model.places,
        resolveBase: (name) => findBaseConfig(name, { servedFolder: folder, cacheDir: options.huggingfaceHubCache }),
      }),
      baseIdentity: `${model.id} ${model.dtype}`,
      maxResident: options.maxActiveAdapters,
      onLoaded: (durationMs) => observer.onAdapterLoaded(durationMs),
      onLoadFailed: () => observer.onAdapterLoadFailed(),
    });
    const scratch = new SamplingScratch(decoder.vocabSize);
    const watermark = { gamma: options.watermarkGamma, delta: options.watermarkDelta };
    this.scheduler = new Scheduler({
      runner: new Runner(backend, model.decoder, this.kv),
      kv: this.kv,
      limits: options,
      makeSampler: (params) => new Sampler(params, { vocabSize: decoder.vocabSize, watermark, scratch }),
      observer,
    });
    this.generator = new Intake({
      limits: {
        ...this.limits,
        maxConcurrentRequests: options.maxConcurrentRequests,
        vocabSize: decoder.vocabSize,
      },
      tokenizer,
      eosTokenIds: new Set(eos),
      scheduler: this.scheduler,
      adapters: this.adapters,
    });
  }

  static async open(parts: EngineParts): Promise<Engine> {
    const { options, modelId, folder, progress } = parts;
    const backend = new GgmlBackend({
      path: options.ggmlPath,
      threads: options.threads.value,
      precision: options.matmulPrecision,
    });
    const model = await loadModel(backend, modelId, folder, options, progress);
    const tokenizer = await openTokenizer(folder, chatTemplateOption(options));
    const eos = await eosTokenIds(modelId, folder, model.description.config, tokenizer.eosTokenIds);
    return new Engine(backend, model, tokenizer, eos, parts);
  }

  /** Finishes what is in hand, then frees everything in the order of dependence. */
  async dispose(): Promise<void> {
    await this.scheduler.close();
    await this.adapters.dispose();
    await this.tokenizer.dispose();
    this.kv.dispose();
    this.backend.dispose();
    this.model.dispose();
  }
}

async function loadModel(
  backend: Backend,
  modelId: string,
  folder: string,
  { dtype }: ServeOptions,
  progress: Progress,
): Promise<BaseModel> {
  let bar: ReturnType<Progress['start']> | undefined;
  let shownBytes = 0;
  try {
    return await BaseModel.load(backend, {
      modelId,
      folder,
      dtype,
      onProgress: (loadedBytes, totalBytes) => {
        bar ??= progress.start(`loading ${modelId}`, totalBytes);
        bar.advance(loadedBytes - shownBytes);
        shownBytes = loadedBytes;
      },
    });
  } catch (error) {
    backend.dispose();
    throw error;
  } finally {
    bar?.done();
  }
}

function chatTemplateOption({ tokenizerConfigPath }: ServeOptions): { chatTemplatePath?: string } {
  return tokenizerConfigPath === undefined ? {} : { chatTemplatePath: tokenizerConfigPath };
}

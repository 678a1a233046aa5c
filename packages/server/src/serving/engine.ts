/**
 * Everything behind the HTTP layer, assembled: backend, base model, tokenizer, adapters, scheduler, intake.
 * Created as a whole, disposed as a whole; knows no routes.
 */

import { freemem } from 'node:os';
import { AdapterLoader } from '../adapters/adapter-loader.ts';
import { AdapterStore, type AdapterNotice } from '../adapters/adapter-store.ts';
import type { ResidentAdapter } from '../adapters/residency-table.ts';
import type { Backend } from '../backend/backend.ts';
import { GgmlBackend } from '../backend/ggml/ggml-backend.ts';
import type { ServeOptions } from '../config/options.ts';
import { BaseModel } from '../engine/base-model.ts';
import { Drafting } from '../engine/drafting/drafting.ts';
import { KvCache } from '../engine/kv-cache.ts';
import { Runner } from '../engine/runner.ts';
import { Sampler } from '../engine/sampling/sampler.ts';
import { SamplingScratch } from '../engine/sampling/scratch.ts';
import { eosTokenIds } from '../models/registry.ts';
import { Intake } from '../scheduler/intake.ts';
import { Scheduler, type SchedulerObserver } from '../scheduler/scheduler.ts';
import type { Generator } from '../scheduler/request.ts';
import { AccessCheck } from '../sources/access.ts';
import { findBaseConfig } from '../sources/base-config.ts';
import type { Sources } from '../sources/source.ts';
import type { Progress } from '../telemetry/progress.ts';
import { openTokenizer } from '../text/hf-tokenizer.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { chooseThreads } from './threads.ts';
import { openModelTensors } from '../weights/tensor-folder.ts';
import { deriveLimits, kvBytesPerToken, kvShape, kvTypes, type DerivedLimits } from './limits.ts';

const MS_PER_SECOND = 1000;

export interface EngineObserver extends SchedulerObserver {
  onAdapterLoaded(adapter: AdapterNotice, durationMs: number): void;
  onAdapterLoadFailed(): void;
  onAdapterEvicted(adapter: ResidentAdapter): void;
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

export interface Engine {
  readonly backend: Backend;
  readonly model: BaseModel;
  readonly tokenizer: Tokenizer;
  readonly limits: DerivedLimits;
  readonly kv: KvCache;
  readonly adapters: AdapterStore;
  readonly scheduler: Scheduler;
  readonly generator: Generator;
  /** Finishes what is in hand, then frees everything in the order of dependence. */
  dispose(): Promise<void>;
}

export async function openEngine(parts: EngineParts): Promise<Engine> {
  const { options, folder } = parts;
  const { ggmlPath: path, matmulPrecision: precision } = options;
  const threads = chooseThreads(options.threads, options.cores, modelBytes(folder));
  const backend: Backend = new GgmlBackend({ path, threads: threads.value, precision });
  const model = await loadModel(backend, parts);
  try {
    return await assemble(backend, model, parts);
  } catch (error) {
    backend.dispose();
    model.dispose();
    throw error;
  }
}

async function assemble(backend: Backend, model: BaseModel, parts: EngineParts): Promise<Engine> {
  const { options, modelId, folder } = parts;
  const tokenizer = await openTokenizer(folder, chatTemplateOption(options));
  const eos = await eosTokenIds(modelId, folder, model.description.config, tokenizer.eosTokenIds);
  const { decoder, config } = model.description;
  const types = kvTypes(options.dtype, options.matmulPrecision);
  const freeBytes = freemem();
  const limits = deriveLimits(options, config.max_position_embeddings, kvBytesPerToken(decoder, types), freeBytes);
  const kv = new KvCache(backend.createKvStore(kvShape(decoder, types, limits.maxBatchTotalTokens)));
  const adapters = openAdapterStore(backend, model, parts, freeBytes);
  const scheduler = startScheduler(backend, model, kv, parts);
  const { maxConcurrentRequests } = options;
  const generator = new Intake({
    limits: { ...limits, maxConcurrentRequests, vocabSize: decoder.vocabSize },
    tokenizer,
    eosTokenIds: new Set(eos),
    scheduler,
    speculation: { heads: undefined, ngramTokens: options.speculativeTokens },
    adapters,
  });
  const dispose = async (): Promise<void> => {
    await scheduler.close();
    await adapters.dispose();
    await tokenizer.dispose();
    kv.dispose();
    backend.dispose();
    model.dispose();
  };
  return { backend, model, tokenizer, limits, kv, adapters, scheduler, generator, dispose };
}

function openAdapterStore(backend: Backend, model: BaseModel, parts: EngineParts, freeBytes: number): AdapterStore {
  const { options, folder, sources, observer } = parts;
  const { architecture, decoder } = model.description;
  const places = { servedFolder: folder, cacheDir: options.huggingfaceHubCache };
  const loader = new AdapterLoader(backend, {
    id: model.id,
    architecture,
    layerCount: decoder.layerCount,
    places: model.places,
    resolveBase: (name) => findBaseConfig(name, places),
  });
  return new AdapterStore({
    access: new AccessCheck(sources, { cacheMs: options.authCacheS * MS_PER_SECOND, onError: options.authOnError }),
    loader,
    baseIdentity: `${model.id} ${model.dtype}`,
    maxResident: options.maxActiveAdapters,
    deviceBudgetBytes: Math.floor(freeBytes * options.adapterMemoryFraction),
    hostCacheBytes: options.adapterHostCacheBytes,
    observer: {
      onLoaded: (adapter, durationMs) => observer.onAdapterLoaded(adapter, durationMs),
      onLoadFailed: () => observer.onAdapterLoadFailed(),
      onEvicted: (adapter) => observer.onAdapterEvicted(adapter),
    },
  });
}

function startScheduler(
  backend: Backend,
  model: BaseModel,
  kv: KvCache,
  { options, observer }: EngineParts,
): Scheduler {
  const { vocabSize } = model.description.decoder;
  const watermark = { gamma: options.watermarkGamma, delta: options.watermarkDelta };
  const scratch = new SamplingScratch(vocabSize);
  return new Scheduler({
    runner: new Runner(backend, model.decoder, kv),
    drafting: new Drafting(backend, model.decoder, {
      candidates: options.speculationCandidates,
      mostRows: options.speculationMaxBatchSize ?? Infinity,
    }),
    kv,
    limits: options,
    makeSampler: (params) => new Sampler(params, { vocabSize, watermark, scratch }),
    observer,
  });
}

function modelBytes(folder: string): number {
  const file = openModelTensors(folder);
  file.dispose();
  return file.byteLength;
}

async function loadModel(backend: Backend, { options, modelId, folder, progress }: EngineParts): Promise<BaseModel> {
  let bar: ReturnType<Progress['start']> | undefined;
  let shownBytes = 0;
  try {
    return await BaseModel.load(backend, {
      modelId,
      folder,
      dtype: options.dtype,
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

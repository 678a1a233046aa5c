/**
 * Everything behind the HTTP layer, assembled: backend, base model, tokenizer, adapters, scheduler, intake.
 * Created as a whole, disposed as a whole; knows no routes.
 */

import type { AdapterNotice, AdapterObserver } from '../adapters/store/adapter-placement.ts';
import type { AdapterStore } from '../adapters/store/adapter-store.ts';
import type { BaseMerge, MergedBase } from '../adapters/merged-base.ts';
import type { ResidentAdapter } from '../adapters/store/residency-table.ts';
import type { Backend } from '../backend/backend.ts';
import type { ServeOptions } from '../config/options.ts';
import type { DraftHeads } from '../adapters/store/adapter-lease.ts';
import type { AdapterReference } from '../base/adapter-reference.ts';
import { BaseModel } from '../engine/base-model.ts';
import type { DraftingObserver } from '../engine/drafting/drafting-observer.ts';
import { calibrate } from '../engine/drafting/calibration.ts';
import { Drafting } from '../engine/drafting/drafting.ts';
import { KvCache } from '../engine/kv-cache.ts';
import { Runner } from '../engine/runner.ts';
import { Sampler } from '../engine/sampling/sampler.ts';
import { SamplingScratch } from '../engine/sampling/scratch.ts';
import { eosTokenIds } from '../models/registry.ts';
import { Intake } from '../scheduler/intake.ts';
import { Scheduler, type SchedulerObserver } from '../scheduler/scheduler.ts';
import type { Generator } from '../scheduler/request.ts';
import type { SpeculationDefaults } from '../scheduler/speculation.ts';
import type { Progress } from '../telemetry/progress.ts';
import { openTokenizer } from '../text/hf-tokenizer.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { defaultAdapter, openAdapterStore, readMerge, type AdapterParts } from './adapters.ts';
import { findDevice, openBackend, type ChosenDevice } from './backend.ts';
import { requireEvenHeads } from './even-heads.ts';
import { chooseThreads } from './threads.ts';
import { openModelTensors } from '../weights/tensor-folder.ts';
import { deriveLimits, kvBytesPerToken, kvShape, kvTypes, type DerivedLimits } from './limits.ts';

export interface EngineObserver extends SchedulerObserver, DraftingObserver {
  onAdapterLoaded(adapter: AdapterNotice, durationMs: number): void;
  onAdapterLoadFailed(): void;
  onAdapterEvicted(adapter: ResidentAdapter): void;
}

export interface EngineParts extends AdapterParts {
  readonly progress: Progress;
  readonly observer: EngineObserver;
  /** Ends the start. */
  readonly signal: AbortSignal;
}

export interface Engine {
  readonly backend: Backend;
  /** Why it computes where it does. */
  readonly deviceBecause: string;
  readonly model: BaseModel;
  readonly tokenizer: Tokenizer;
  readonly limits: DerivedLimits;
  readonly kv: KvCache;
  /** The latter where --merge-adapter-weights is given. */
  readonly adapters: AdapterStore | MergedBase;
  readonly scheduler: Scheduler;
  readonly generator: Generator;
  /** For requests that name no adapter; undefined is the base. */
  readonly defaultAdapter: AdapterReference | undefined;
  readonly speculation: SpeculationDefaults;
  /** Finishes what is in hand, then frees everything in the order of dependence. */
  dispose(): Promise<void>;
}

export async function openEngine(parts: EngineParts): Promise<Engine> {
  const { options, folder } = parts;
  const { value: threads } = chooseThreads(options.threads, options.cores, modelBytes(folder));
  const device = findDevice(options.device, options.numShard);
  await requireEvenHeads(parts.modelId, folder, options.numShard);
  const backend = await openDevice(device, threads, parts);
  let merge: BaseMerge | undefined;
  let model: BaseModel | undefined;
  try {
    if (options.mergeAdapterWeights) merge = await readMerge(backend, parts, parts.signal);
    model = await loadModel(backend, merge, parts);
    const assembled = await assemble(backend, model, merge?.adapters, parts);
    return { ...assembled, deviceBecause: device.because };
  } catch (error) {
    await merge?.adapters.dispose();
    backend.dispose();
    model?.dispose();
    throw error;
  }
}

/** A card's first start takes longer than all others, and says why. */
function openDevice(
  device: ChosenDevice,
  threads: number,
  { options, progress, signal }: EngineParts,
): Promise<Backend> {
  const { ggmlPath, matmulPrecision: precision, kernelCacheFolder } = options;
  return openBackend(device, {
    ...{ threads, precision, ggmlPath, kernelCacheFolder, signal },
    onCompiling: (architecture, fileCount) =>
      progress.start(`compiling kernels for ${architecture}`, fileCount, (count) => `${count} files`),
  });
}

async function assemble(
  backend: Backend,
  model: BaseModel,
  merged: MergedBase | undefined,
  parts: EngineParts,
): Promise<Omit<Engine, 'deviceBecause'>> {
  const { options, modelId, folder } = parts;
  const owned: (() => Promise<void> | void)[] = [];
  const dispose = async (): Promise<void> => {
    for (const free of owned.splice(0).toReversed()) await free();
  };
  try {
    const tokenizer = await openTokenizer(folder, chatTemplateOption(options));
    owned.push(() => tokenizer.dispose());
    const eos = await eosTokenIds(modelId, folder, model.description.config, tokenizer.eosTokenIds);
    const { decoder, config } = model.description;
    const types = kvTypes(options.dtype, options.matmulPrecision);
    const { freeBytes } = backend;
    const limits = deriveLimits(options, config.max_position_embeddings, kvBytesPerToken(decoder, types), freeBytes);
    const kv = new KvCache(backend.createKvStore(kvShape(decoder, types, limits.maxBatchTotalTokens)));
    owned.push(() => kv.dispose());
    const text = { tokenizer, vocabSize: decoder.vocabSize };
    const adapters =
      merged ?? openAdapterStore(backend, model, parts, freeBytes, text, adapterObserver(parts.observer));
    owned.push(() => adapters.dispose());
    const defaults = await openDefaultAdapter(adapters, parts);
    owned.push(defaults.release);
    const { maxConcurrentRequests, speculativeTokens: ngramTokens, strictMedusaHeads: strictHeads } = options;
    const speculation = { heads: defaults.heads, ngramTokens, strictHeads };
    const drafting = await openDrafting(backend, model, kv, speculation, parts);
    const scheduler = startScheduler(backend, model, kv, drafting, parts);
    owned.push(() => scheduler.close());
    const generator = new Intake({
      limits: { ...limits, maxConcurrentRequests, vocabSize: decoder.vocabSize },
      ...{ tokenizer, eosTokenIds: new Set(eos), scheduler, adapters },
      speculation,
    });
    const disposeAll = async (): Promise<void> => {
      await dispose();
      backend.dispose();
      model.dispose();
    };
    const { adapter: defaultAdapter } = defaults;
    const whole = {
      backend,
      model,
      tokenizer,
      limits,
      kv,
      adapters,
      scheduler,
      generator,
      defaultAdapter,
      speculation,
    };
    return { ...whole, dispose: disposeAll };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** What requests get that name no adapter; held for as long as the server lives. */
interface DefaultAdapter {
  /** Undefined is the base. */
  readonly adapter: AdapterReference | undefined;
  readonly heads: DraftHeads | undefined;
  readonly release: () => void;
}

/** Heads alone change no answer, so that requests which name nothing stay those of the bare base. */
async function openDefaultAdapter(adapters: Engine['adapters'], parts: EngineParts): Promise<DefaultAdapter> {
  const reference = defaultAdapter(parts.options);
  if (reference === undefined) return { adapter: undefined, heads: undefined, release: () => undefined };
  const lease = await adapters.keep(reference, parts.signal);
  const { batchTypes, heads } = lease;
  return { adapter: batchTypes.includes('lora') ? reference : undefined, heads, release: () => lease.release() };
}

function adapterObserver(observer: EngineObserver): AdapterObserver {
  return {
    onLoaded: (adapter, durationMs) => observer.onAdapterLoaded(adapter, durationMs),
    onLoadFailed: () => observer.onAdapterLoadFailed(),
    onEvicted: (adapter) => observer.onAdapterEvicted(adapter),
  };
}

/** Knows what drafts cost where all requests may have some. */
async function openDrafting(
  backend: Backend,
  { decoder: model }: BaseModel,
  kv: KvCache,
  { heads, ngramTokens }: SpeculationDefaults,
  { options, observer, signal }: EngineParts,
): Promise<Drafting> {
  const drafting = new Drafting(backend, model, {
    candidates: options.speculationCandidates,
    mostRows: options.speculationMaxBatchSize ?? Infinity,
    observer,
  });
  if (heads !== undefined || ngramTokens > 0) {
    await calibrate({ backend, model, kv: kv.store, heads: heads?.model, costs: drafting.costs, signal });
  }
  return drafting;
}

function startScheduler(
  backend: Backend,
  model: BaseModel,
  kv: KvCache,
  drafting: Drafting,
  { options, observer }: EngineParts,
): Scheduler {
  const { vocabSize } = model.description.decoder;
  const watermark = { gamma: options.watermarkGamma, delta: options.watermarkDelta };
  const scratch = new SamplingScratch(vocabSize);
  return new Scheduler({
    runner: new Runner(backend, model.decoder, kv),
    drafting,
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

async function loadModel(
  backend: Backend,
  merge: BaseMerge | undefined,
  { options, modelId, folder, progress }: EngineParts,
): Promise<BaseModel> {
  let bar: ReturnType<Progress['start']> | undefined;
  let shownBytes = 0;
  try {
    return await BaseModel.load(backend, {
      modelId,
      folder,
      dtype: options.dtype,
      merged: merge?.factors,
      onProgress: (loadedBytes, totalBytes) => {
        bar ??= progress.start(`loading ${modelId}`, totalBytes);
        bar.advance(loadedBytes - shownBytes);
        shownBytes = loadedBytes;
      },
    });
  } finally {
    bar?.done();
  }
}

function chatTemplateOption({ tokenizerConfigPath }: ServeOptions): { chatTemplatePath?: string } {
  return tokenizerConfigPath === undefined ? {} : { chatTemplatePath: tokenizerConfigPath };
}

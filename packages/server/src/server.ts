/**
 * The composition root: from options to a running server, an engine for the command line, or a description of both.
 * The only place where every part is known.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createApp, type CorsRules } from './api/app.ts';
import { Keyring } from './api/keys.ts';
import { listen } from './api/server.ts';
import type { ServedAdapter } from './api/serving.ts';
import { present } from './base/assert.ts';
import { LoraxError } from './base/errors.ts';
import type { LoadedEngine, RunningServer, StartDependencies } from './cli/composition.ts';
import type { MemoryEstimate } from './serving/memory-estimate.ts';
import type { ServeOptions } from './config/options.ts';
import { withOperatorsToken } from './serving/adapters.ts';
import { openEngine, type Engine, type EngineObserver, type EngineParts } from './serving/engine.ts';
import { requireEvenHeads } from './serving/even-heads.ts';
import { makeServing } from './serving/http.ts';
import { openTrainingBase as openBase } from './serving/training-base.ts';
import type { TrainingBase } from './training/base.ts';
import { openModelHub, openServedSources, type ServedSources } from './serving/sources.ts';
import { estimateModelMemory } from './serving/memory-estimate.ts';
import { describeBackend, type BackendReport } from './serving/describe-backend.ts';
import { metricsObserver, tellDevice, tellMerge, watchEngine } from './serving/metrics-observer.ts';
import type { Hub, ResolvedModel } from './sources/hub.ts';
import { mapLimited } from './base/limited.ts';
import { resolveModel } from './sources/model.ts';
import type { Sources } from './sources/source.ts';
import { createMetrics } from './telemetry/metrics.ts';
import type { Progress } from './telemetry/progress.ts';

const VERSION = readVersion();

const PARALLEL_PRELOADS = 4;

/** What the demo package calls its base; its adapters name it too. */
const DEMO_MODEL_ID = 'lorax-demo/base';
/** Draft heads for the demo's base, among its adapters. */
const DEMO_HEADS = 'medusa';

interface Place extends ServedSources {
  readonly model: ResolvedModel;
}

export async function startServer(given: ServeOptions, deps: StartDependencies): Promise<RunningServer> {
  const options = withDemoHeads(given);
  const place = await findModel(options, deps);
  const { model, sources, disk } = place;
  const metrics = createMetrics(metricLimits(options));
  const observer = metricsObserver(metrics, deps.log);
  const engine = await openWith(options, deps, place, observer);
  try {
    watchEngine(metrics, engine, disk);
    tellDevice(deps.log, engine);
    tellMerge(deps.log, engine);
    const listedAdapters = options.mergeAdapterWeights ? [] : await listAdapters(sources, deps.signal);
    engine.adapters.found(listedAdapters);
    const serving = makeServing(engine, { options, version: VERSION, revision: model.revision, listedAdapters });
    await preload(engine, options, deps.signal);
    const app = createApp(serving, {
      metrics,
      log: deps.log,
      version: VERSION,
      cors: corsRules(options),
      keys: new Keyring(options.apiKey, options.adminKey),
      adapterApi: options.adapterApi,
    });
    const server = await listen(app, { hostname: options.hostname, port: options.port });
    return {
      url: `http://${options.hostname}:${server.port}`,
      adapters: listedAdapters.map(({ id }) => id),
      modelId: engine.model.id,
      close: async () => {
        await server.close();
        await engine.dispose();
        await disk.settled();
      },
    };
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

export async function loadEngine(given: ServeOptions, deps: StartDependencies): Promise<LoadedEngine> {
  const options = withDemoHeads(given);
  const place = await findModel(options, deps);
  const engine = await openWith(options, deps, place, SILENT);
  return { generator: engine.generator, dispose: () => engine.dispose() };
}

export async function openTrainingBase(options: ServeOptions, deps: StartDependencies): Promise<TrainingBase> {
  return openBase(engineParts(options, deps, await findModel(options, deps), SILENT));
}

export async function describeEngine(options: ServeOptions): Promise<BackendReport> {
  return describeBackend(options);
}

export async function estimateMemory(options: ServeOptions): Promise<MemoryEstimate> {
  const silent: Progress = { start: () => ({ advance: () => undefined, done: () => undefined }) };
  const { signal } = new AbortController();
  const model = await resolveBase(options, openModelHub(options), { progress: silent, signal });
  await requireEvenHeads(modelName(options), model.folder, options.numShard);
  return estimateModelMemory(modelName(options), model.folder, options.dtype, options);
}

const SILENT: EngineObserver = {
  onAdmit: () => undefined,
  onStep: () => undefined,
  onStepFailure: () => undefined,
  onDraftFailure: () => undefined,
  onVerified: () => undefined,
  onGuessed: () => undefined,
  onAdapterLoaded: () => undefined,
  onAdapterLoadFailed: () => undefined,
  onAdapterEvicted: () => undefined,
};

function openWith(
  options: ServeOptions,
  deps: StartDependencies,
  place: Place,
  observer: EngineObserver,
): Promise<Engine> {
  return openEngine(engineParts(options, deps, place, observer));
}

function engineParts(
  options: ServeOptions,
  { progress, signal }: StartDependencies,
  { model, sources, disk }: Place,
  observer: EngineObserver,
): EngineParts {
  return { options, modelId: modelName(options), folder: model.folder, sources, disk, progress, observer, signal };
}

async function findModel(options: ServeOptions, deps: StartDependencies): Promise<Place> {
  const adapterRoot = options.adapterRoot ?? (options.demo ? join(demoFolder(), 'adapters') : undefined);
  const served = await openServedSources(options, adapterRoot, deps.log);
  return { ...served, model: await resolveBase(options, served.hub, deps) };
}

function resolveBase(
  options: ServeOptions,
  hub: Hub,
  { progress, signal }: Pick<StartDependencies, 'progress' | 'signal'>,
): Promise<ResolvedModel> {
  const modelId = options.demo ? join(demoFolder(), 'base') : modelName(options);
  return downloading(progress, modelId, (onProgress) =>
    resolveModel(modelId, { hub, revision: options.revision, signal, onProgress }),
  );
}

/** Shows a bar for as long as the Hub has something to send. */
async function downloading<T>(
  progress: Progress,
  modelId: string,
  resolve: (onProgress: (state: { receivedBytes: number; totalBytes: number }) => void) => Promise<T>,
): Promise<T> {
  let bar: ReturnType<Progress['start']> | undefined;
  let shownBytes = 0;
  try {
    return await resolve(({ receivedBytes, totalBytes }) => {
      bar ??= progress.start(`downloading ${modelId}`, totalBytes);
      bar.advance(receivedBytes - shownBytes);
      shownBytes = receivedBytes;
    });
  } finally {
    bar?.done();
  }
}

/** The demo drafts unless told otherwise. */
function withDemoHeads(options: ServeOptions): ServeOptions {
  const { demo, adapterId, adapterRoot } = options;
  if (!demo || adapterId !== undefined || adapterRoot !== undefined) return options;
  return { ...options, adapterId: DEMO_HEADS };
}

function modelName(options: ServeOptions): string {
  return options.demo ? DEMO_MODEL_ID : present(options.modelId, '--model-id');
}

function demoFolder(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve('@lorax/demo-model/package.json'));
  } catch (cause) {
    const reason = 'package @lorax/demo-model is not installed';
    throw new LoraxError('MODEL_NOT_FOUND', { modelId: DEMO_MODEL_ID, reason }, { cause });
  }
}

async function listAdapters(sources: Sources, signal: AbortSignal): Promise<ServedAdapter[]> {
  const ids = await sources.local.list(signal);
  return ids.map((id) => ({ id, source: 'local' }));
}

/** An adapter that cannot be loaded is a fault of the start, not of the first request. */
async function preload({ adapters }: Engine, options: ServeOptions, signal: AbortSignal): Promise<void> {
  const wanted = options.preloadedAdapterIds.map((id) => ({ id, source: options.preloadedAdapterSource }));
  await mapLimited(wanted, PARALLEL_PRELOADS, signal, (reference, shared) =>
    adapters.load({ reference: withOperatorsToken(reference, options), pin: true }, shared),
  );
}

function corsRules(options: ServeOptions): CorsRules {
  return {
    origins: options.corsAllowOrigin,
    methods: options.corsAllowMethod,
    headers: options.corsAllowHeader,
    exposedHeaders: options.corsExposeHeader,
    credentials: options.corsAllowCredentials,
  };
}

/** The histograms' buckets are wanted before the model's own limits are known. */
function metricLimits({ maxInputLength = 4095, maxTotalTokens = 4096 }: ServeOptions): {
  maxInputLength: number;
  maxTotalTokens: number;
} {
  return { maxInputLength, maxTotalTokens };
}

function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

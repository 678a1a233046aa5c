/** Opens the server's engine over a random model and its adapters, made where the cache has none. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { deriveOptions } from '#server/config/derive.ts';
import { OPTIONS, type GivenOptions, type ServeOptions } from '#server/config/options.ts';
import { openEngine, type Engine } from '#server/serving/engine.ts';
import { openHub } from '#server/sources/hub.ts';
import { openSources } from '#server/sources/registry.ts';
import { createProgress } from '#server/telemetry/progress.ts';
import { cachedFolder } from './cache.ts';
import type { BenchOptions } from './options.ts';
import { adapterId, writeAdapter, type AdapterRecipe } from './random-adapter.ts';
import { writeModel } from './random-model.ts';
import type { RandomWords } from './random-tensors.ts';
import { StepRecorder } from './step-recorder.ts';

export interface BenchEngine {
  readonly engine: Engine;
  readonly recorder: StepRecorder;
  readonly options: ServeOptions;
}

/** Cells for the streams of a run, with room for as many more. */
const KV_CELLS = 16_384;

/** A random model and where it is kept. */
export type RandomModel = Pick<BenchOptions, 'cache' | 'shape' | 'dtype'>;

/** The model and all adapters are on disk when it returns. Their values come from `words`, or are all different. */
export function prepareFiles(model: RandomModel, adapters: readonly AdapterRecipe[], words?: RandomWords): string {
  const { cache, shape, dtype } = model;
  const modelId = modelName(model);
  const folder = cachedFolder(cache, `${modelId}/base`, (path) => {
    process.stderr.write(`making ${modelId} in ${cache}\n`);
    writeModel(path, shape, dtype, words);
  });
  mkdirSync(adapterFolder(model), { recursive: true });
  for (const recipe of adapters) {
    cachedFolder(cache, `${modelId}/adapters/${adapterId(recipe)}`, (path) =>
      writeAdapter(path, { shape, modelId, dtype }, recipe, words),
    );
  }
  return folder;
}

export function openBenchEngine(bench: BenchOptions, folder: string): Promise<BenchEngine> {
  const { dtype, precision: matmulPrecision } = bench;
  const given = { dtype, matmulPrecision };
  return openServed(bench, { modelId: modelName(bench), folder, adapterRoot: adapterFolder(bench), given });
}

/** Of all the model's adapters. */
export function adapterFolder(model: RandomModel): string {
  return join(model.cache, modelName(model), 'adapters');
}

/** What an engine needs to know of the benchmark. */
export type EngineOptions = Pick<BenchOptions, 'cache' | 'threads' | 'ggmlPath'>;

export interface ServedModel {
  readonly modelId: string;
  readonly folder: string;
  readonly adapterRoot: string;
  /** The server's options where they are not its defaults. */
  readonly given: Partial<GivenOptions>;
}

export async function openServed(bench: EngineOptions, served: ServedModel): Promise<BenchEngine> {
  const { modelId, folder, adapterRoot } = served;
  const options = serveOptions(bench, served);
  const recorder = new StepRecorder();
  const engine = await openEngine({
    ...{ options, modelId, folder },
    sources: openSources({ adapterRoot, hub: openHub({ cacheDir: bench.cache, offline: true }) }),
    disk: { remove: async () => 0 },
    progress: createProgress({ write: () => undefined }),
    observer: recorder,
    signal: new AbortController().signal,
  });
  return { engine, recorder, options };
}

function modelName({ shape, dtype }: RandomModel): string {
  return `random-${shape.name}-${dtype}`;
}

/** The server's defaults, whatever the environment says. */
function serveOptions({ threads, ggmlPath }: EngineOptions, { folder, adapterRoot, given }: ServedModel): ServeOptions {
  const rows = Object.entries(OPTIONS).map(([key, row]) => [key, 'default' in row ? row.default : undefined]);
  const defaults = Object.fromEntries(rows) as GivenOptions; // each key's default comes from its own row
  const limits = { maxTotalTokens: 1024, maxBatchTotalTokens: KV_CELLS };
  const options = { ...defaults, modelId: folder, adapterRoot, threads, ggmlPath, ...limits, ...given };
  return deriveOptions(options, {}, { model: true });
}

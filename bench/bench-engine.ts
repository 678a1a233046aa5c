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
import { StepRecorder } from './step-recorder.ts';

export interface BenchEngine {
  readonly engine: Engine;
  readonly recorder: StepRecorder;
  readonly options: ServeOptions;
}

/** Cells for the streams of a run, with room for as many more. */
const KV_CELLS = 16_384;

/** The model and all adapters are on disk when it returns. */
export function prepareFiles(bench: BenchOptions, adapters: readonly AdapterRecipe[]): string {
  const { cache, shape, dtype } = bench;
  const modelId = modelName(bench);
  const folder = cachedFolder(cache, `${modelId}/base`, (path) => {
    process.stderr.write(`making ${modelId} in ${cache}\n`);
    writeModel(path, shape, dtype);
  });
  mkdirSync(join(cache, modelId, 'adapters'), { recursive: true });
  for (const recipe of adapters) {
    cachedFolder(cache, `${modelId}/adapters/${adapterId(recipe)}`, (path) =>
      writeAdapter(path, shape, modelId, dtype, recipe),
    );
  }
  return folder;
}

export function openBenchEngine(bench: BenchOptions, folder: string): Promise<BenchEngine> {
  const { dtype, precision: matmulPrecision } = bench;
  const adapterRoot = join(bench.cache, modelName(bench), 'adapters');
  return openServed(bench, { modelId: modelName(bench), folder, adapterRoot, given: { dtype, matmulPrecision } });
}

export interface ServedModel {
  readonly modelId: string;
  readonly folder: string;
  readonly adapterRoot: string;
  /** The server's options where they are not its defaults. */
  readonly given: Partial<GivenOptions>;
}

export async function openServed(bench: BenchOptions, served: ServedModel): Promise<BenchEngine> {
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

function modelName({ shape, dtype }: BenchOptions): string {
  return `random-${shape.name}-${dtype}`;
}

/** The server's defaults, whatever the environment says. */
function serveOptions({ threads, ggmlPath }: BenchOptions, { folder, adapterRoot, given }: ServedModel): ServeOptions {
  const rows = Object.entries(OPTIONS).map(([key, row]) => [key, 'default' in row ? row.default : undefined]);
  const defaults = Object.fromEntries(rows) as GivenOptions; // each key's default comes from its own row
  const limits = { maxTotalTokens: 1024, maxBatchTotalTokens: KV_CELLS };
  const options = { ...defaults, modelId: folder, adapterRoot, threads, ggmlPath, ...limits, ...given };
  return deriveOptions(options, {}, { model: true });
}

/** Streams through HTTP, each with an adapter of its own, beside the rate of the steps alone. The clients are in a worker. */

import type { MatmulPrecision } from '#server/backend/precision.ts';
import type { DeviceName } from '#server/config/device-name.ts';
import type { GivenOptions } from '#server/config/options.ts';
import { adapterFolder, openServed, prepareFiles, type BenchEngine } from '../bench-engine.ts';
import type { ClientResult } from '../http-client.ts';
import { openServer, streamThroughHttp } from '../http-run.ts';
import { RepeatedWords } from '../random-tensors.ts';
import { adaptersOf, type Scenario } from '../scenario.ts';
import type { Shape } from '../shapes.ts';
import { median, sum } from '../statistics.ts';
import type { Result } from './result.ts';
import { withServedFiles } from './served-files.ts';
import type { Sizes } from './sizes.ts';

export interface HttpSettings {
  readonly shape: Shape;
  readonly sizes: Sizes;
  readonly device: DeviceName;
  readonly shardCount: number;
  readonly precision: MatmulPrecision;
  /** Where files are kept; undefined writes them where there is room, and removes them. */
  readonly folder: string | undefined;
  /** Of the same rows, without a server. */
  readonly stepTokensPerSecond: number;
}

const SEED = 7;

const LIMIT = { atLeast: 0.9 };

/** Tokens of the streams that only load adapters and record steps. */
const WARM_UP_TOKENS = 8;

/** Prompt tokens in one step. */
const PREFILL_TOKENS = 2048;

export function measureHttp(settings: HttpSettings): AsyncGenerator<Result, void, undefined> {
  return withServedFiles(settings.folder, settings.shape, (cache) => measureIn(cache, settings));
}

async function* measureIn(cache: string, settings: HttpSettings): AsyncGenerator<Result, void, undefined> {
  const scenario = usualStreams(settings.sizes);
  const model = { cache, shape: settings.shape, dtype: 'bfloat16' } as const;
  const begun = performance.now();
  // Values that are all different would take longer to make than everything that is measured.
  const folder = prepareFiles(model, adaptersOf([scenario]), new RepeatedWords(SEED));
  const written = performance.now();
  const { device, shardCount: numShard, precision: matmulPrecision, sizes } = settings;
  const given = { device, numShard, matmulPrecision, ...limitsOf(sizes) };
  const served = { modelId: settings.shape.name, folder, adapterRoot: adapterFolder(model), given };
  const bench = await openServed({ cache, threads: undefined, ggmlPath: undefined }, served);
  const opening = { writeMs: written - begun, openMs: performance.now() - written };
  try {
    yield await streamAll(bench, scenario, settings, opening);
  } finally {
    await bench.engine.dispose();
  }
}

/** The server's own would leave no room for the streams, or compute their prompts in small pieces. */
function limitsOf({ usualRows, context, newTokens }: Sizes): Partial<GivenOptions> {
  const maxTotalTokens = context + newTokens;
  return {
    maxTotalTokens,
    maxBatchTotalTokens: 2 * usualRows * maxTotalTokens,
    maxBatchPrefillTokens: PREFILL_TOKENS,
  };
}

/** Contexts are as long as those of the steps alone, on average. */
function usualStreams({ usualRows, adapterCount, rank, context, newTokens }: Sizes): Scenario {
  const streams = Array.from({ length: usualRows }, (_, i) => ({ rank, index: i % adapterCount }));
  return {
    name: `HTTP, ${usualRows} streams, ${adapterCount} adapters of rank ${rank}`,
    ...{ streams, promptLen: context - newTokens / 2, newTokens, about: 'tokens', over: 'http' },
    ...{ sampled: false, loads: undefined, baseline: undefined },
  };
}

async function streamAll(
  bench: BenchEngine,
  scenario: Scenario,
  { shape, stepTokensPerSecond }: HttpSettings,
  opening: Readonly<Record<string, number>>,
): Promise<Result> {
  const server = await openServer(bench);
  try {
    await streamThroughHttp(server.port, { ...scenario, newTokens: WARM_UP_TOKENS }, shape.vocabSize);
    bench.recorder.begin(1);
    const clients = await streamThroughHttp(server.port, scenario, shape.vocabSize);
    const tokensPerSecond = rateTogether(clients);
    return {
      work: scenario.name,
      value: tokensPerSecond / stepTokensPerSecond,
      unit: "of the steps' own tokens/s",
      limit: LIMIT,
      details: { tokensPerSecond, stepTokensPerSecond, ...clientDetails(clients), ...stepDetails(bench), ...opening },
    };
  } finally {
    await server.close();
  }
}

/** Tokens a second from the first token of the last stream that begins to the end of the first that ends. */
export function rateTogether(clients: readonly Pick<ClientResult, 'arrivals'>[]): number {
  const begun = Math.max(...clients.map(({ arrivals }) => arrivals[0]!.atMs));
  const ended = Math.min(...clients.map(({ arrivals }) => arrivals.at(-1)!.atMs));
  const between = clients.flatMap(({ arrivals }) => arrivals.filter(({ atMs }) => atMs > begun && atMs < ended));
  return sum(between.map(({ eventCount }) => eventCount)) / ((ended - begun) / 1000);
}

function clientDetails(clients: readonly ClientResult[]): Record<string, number> {
  return {
    firstTokenMs: median(clients.map(({ firstTokenMs }) => firstTokenMs)),
    overallTokensPerSecond: sum(
      clients.map(({ generatedTokens, durationMs }) => (1000 * generatedTokens) / durationMs),
    ),
  };
}

/** Of the steps in which all streams generate, as the server saw them. */
function stepDetails({ recorder }: BenchEngine): Record<string, number> {
  const decodes = recorder.steps.filter(({ method }) => method === 'decode');
  const middle = (read: (step: (typeof decodes)[number]) => number): number => median(decodes.map(read));
  return {
    stepMs: middle(({ totalMs }) => totalMs),
    buildMs: middle(({ times }) => times.buildMs),
    computeMs: middle(({ times }) => times.computeMs),
    samplingMs: middle(({ samplingMs }) => samplingMs),
    emissionMs: middle(({ emissionMs }) => emissionMs),
    betweenMs: middle(({ loopMs }) => loopMs),
  };
}

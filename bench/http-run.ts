/** Runs a scenario's streams through HTTP on the loopback interface: the server's application, clients in a worker. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { createApp } from '#server/api/app.ts';
import { listen, type RunningServer } from '#server/api/server.ts';
import { makeServing } from '#server/serving/http.ts';
import { createLogger } from '#server/telemetry/log.ts';
import { createMetrics } from '#server/telemetry/metrics.ts';
import type { BenchEngine } from './bench-engine.ts';
import type { ClientJob, ClientResult } from './http-client.ts';
import { adapterId } from './random-adapter.ts';
import { promptTokens } from './run.ts';
import type { Scenario } from './scenario.ts';

export function openServer({ engine, options }: BenchEngine): Promise<RunningServer> {
  const facts = { options, version: '0.0.0', revision: undefined, listedAdapters: [] };
  const { maxInputLength, maxTotalTokens } = engine.limits;
  const app = createApp(makeServing(engine, facts), {
    metrics: createMetrics({ maxInputLength, maxTotalTokens }),
    log: createLogger({ level: 'error', json: false }, process.stderr),
    version: facts.version,
  });
  return listen(app, { hostname: '127.0.0.1', port: 0 });
}

export async function streamThroughHttp(port: number, scenario: Scenario, vocabSize: number): Promise<ClientResult[]> {
  const bodies = scenario.streams.map((_, index) => completionBody(scenario, index, vocabSize));
  const job: ClientJob = { port, bodies };
  const worker = new Worker(new URL('./http-client.js', import.meta.url), { workerData: job });
  const [results] = (await once(worker, 'message')) as [ClientResult[]];
  await worker.terminate();
  return results;
}

function completionBody({ streams, promptLen, newTokens }: Scenario, index: number, vocabSize: number): object {
  const recipe = streams[index];
  return {
    model: recipe === undefined ? '' : adapterId(recipe),
    prompt: promptTokens(index, promptLen, vocabSize),
    max_tokens: newTokens,
    temperature: 0,
    ignore_eos_token: true,
    stream: true,
    stream_options: { include_usage: true },
  };
}

/**
 * The clients of a run through HTTP, in a worker thread of their own so that the server's event loop does nothing but
 * serve: one streaming request each, all at once. Posts what each of them saw.
 */

import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import { present } from '#server/base/assert.ts';
import type { StreamResult } from './run.ts';

export interface ClientResult extends StreamResult {
  /** When each piece of the answer came, in milliseconds after the request, with how many events it held. */
  readonly arrivals: readonly { readonly atMs: number; readonly eventCount: number }[];
}

/** What a worker is started with. */
export interface ClientJob {
  readonly port: number;
  /** Bodies of `/v1/completions`. */
  readonly bodies: readonly object[];
}

const { port, bodies } = workerData as ClientJob;
const results = await Promise.all(bodies.map((body) => stream(body)));
present(parentPort, 'the thread that started the clients').postMessage(results);

async function stream(body: object): Promise<ClientResult> {
  const begun = performance.now();
  const outgoing = request({ port, host: '127.0.0.1', method: 'POST', path: '/v1/completions' });
  outgoing.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const arrivals: { atMs: number; eventCount: number }[] = [];
  let text = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    arrivals.push({ atMs: performance.now() - begun, eventCount: chunk.split('data:').length - 1 });
    text += chunk;
  }
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}: ${text}`);
  const firstTokenMs = arrivals[0]?.atMs ?? 0;
  return { ...usageOf(text), firstTokenMs, durationMs: performance.now() - begun, arrivals };
}

/** The stream's last event before `[DONE]` says what was counted. */
function usageOf(text: string): Pick<StreamResult, 'promptTokens' | 'generatedTokens'> {
  const events = text.split('\n\n').filter((event) => event.startsWith('data:'));
  const last = present(events.at(-2), 'the usage event').slice('data:'.length);
  const { usage } = JSON.parse(last) as { usage: { prompt_tokens: number; completion_tokens: number } };
  return { promptTokens: usage.prompt_tokens, generatedTokens: usage.completion_tokens };
}

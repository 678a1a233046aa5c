/** The application under test, called without a socket or over one, and its event streams read back. */

import { createMetrics } from '../../telemetry/metrics.ts';
import { createApp, type AppOptions } from '../app.ts';
import type { Serving } from '../serving.ts';
import { FAKE_LIMITS, fakeServing } from './fake-serving.ts';

export function testApp(overrides: Partial<Serving> = {}, options: Partial<AppOptions> = {}) {
  const serving = fakeServing(overrides);
  const metrics = createMetrics(FAKE_LIMITS);
  const logged: { readonly fields: object; readonly message: string }[] = [];
  const debugged: string[] = [];
  const log = {
    debug: (fields: object, message: string) => void debugged.push(JSON.stringify({ ...fields, message })),
    error: (fields: object, message: string) => void logged.push({ fields, message }),
  };
  const app = createApp(serving, { metrics, log, version: '0.0.0', ...options });
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) =>
    app.request(path, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    });
  return { app, serving, generator: serving.generator, adapters: serving.adapters, metrics, logged, debugged, post };
}

/** The JSON of a response; tests compare it with what they expect. */
export async function json(response: Response | Promise<Response>): Promise<unknown> {
  return (await response).json();
}

/** The payloads of a server-sent event stream, comments left out; `[DONE]` stays a string. */
export async function events(response: Response | Promise<Response>): Promise<unknown[]> {
  return parseEvents(await (await response).text());
}

export function parseEvents(text: string): unknown[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('data: '))
    .map((block) => (block === 'data: [DONE]' ? '[DONE]' : JSON.parse(block.slice('data: '.length))));
}

/**
 * The OpenAI-compatible server that answers: one request with its retries and deadline. Knows no conversations' course
 * and no files.
 */

import { z } from 'zod';
import { LoraxError } from '../base/errors.ts';
import { wait } from '../sources/retry.ts';
import type { ChatMessage } from '../text/tokenizer.ts';

export interface AnsweringServerOptions {
  /** `/v1` of the server, or the address of one of the two routes. */
  readonly url: string;
  readonly model: string | undefined;
  readonly apiKey: string | undefined;
  readonly temperature: number;
  readonly maxTokens: number;
  /** Further attempts. */
  readonly retries: number;
  readonly timeoutMs: number;
  /** Before the first retry; doubled for each further one. */
  readonly backoffMs?: number;
}

/** The server takes no offence at others, but answers this request never: too long, for instance. */
export class RequestRefused extends Error {}

const BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
/** Statuses that mean this one request; 401, 403 and 404 mean all of them. */
const REFUSALS: ReadonlySet<number> = new Set([400, 413, 422]);
/** Of an error's body, for the message. */
const SHOWN_LEN = 300;

const chatAnswer = z.object({ choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })]) });
const textAnswer = z.object({ choices: z.tuple([z.object({ text: z.string() })]) });

export class AnsweringServer {
  readonly #options: AnsweringServerOptions;
  readonly #base: string;

  /** Throws OPTION_INVALID unless the URL is one of HTTP's. */
  constructor(options: AnsweringServerOptions) {
    this.#options = options;
    this.#base = baseOf(options.url);
  }

  /** The answer's text. Rejects with `RequestRefused`, TRAINING_FAILED or the signal's reason. */
  async chat(messages: readonly ChatMessage[], signal: AbortSignal): Promise<string> {
    const { choices } = await this.#ask('chat/completions', { messages }, chatAnswer, signal);
    return choices[0].message.content;
  }

  /** What follows the prompt. Rejects as `chat` does. */
  async complete(prompt: string, signal: AbortSignal): Promise<string> {
    const { choices } = await this.#ask('completions', { prompt }, textAnswer, signal);
    return choices[0].text;
  }

  async #ask<T>(route: string, own: object, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
    const { model = '', temperature, maxTokens, retries, backoffMs = BACKOFF_MS } = this.#options;
    const body = JSON.stringify({ model, ...own, temperature, max_tokens: maxTokens, stream: false });
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#attempt(`${this.#base}/${route}`, body, signal);
      if ('answer' in outcome) return checked(schema, outcome.answer, route);
      if (attempt === retries) throw new LoraxError('TRAINING_FAILED', { reason: outcome.fault });
      const waitMs = Math.max(outcome.retryAfterMs, Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** attempt));
      await wait(waitMs, signal);
    }
  }

  /** Rejects where another attempt could not help. */
  async #attempt(url: string, body: string, signal: AbortSignal): Promise<Outcome> {
    const deadline = AbortSignal.timeout(this.#options.timeoutMs);
    try {
      const headers = { 'content-type': 'application/json', ...authorization(this.#options.apiKey) };
      const response = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.any([signal, deadline]) });
      if (response.ok) return { answer: await response.json() };
      return await faultOf(response);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RequestRefused || error instanceof LoraxError) throw error;
      return { fault: deadline.aborted ? `${url} did not answer in time` : unreachable(url, error), retryAfterMs: 0 };
    }
  }
}

type Outcome = { readonly answer: unknown } | { readonly fault: string; readonly retryAfterMs: number };

async function faultOf(response: Response): Promise<Outcome> {
  const { status, headers } = response;
  const text = (await response.text()).slice(0, SHOWN_LEN);
  if (REFUSALS.has(status)) throw new RequestRefused(`${status}: ${text}`);
  const fault = `the server answered ${status}: ${text}`;
  if (status < 500 && status !== 429 && status !== 408) throw new LoraxError('TRAINING_FAILED', { reason: fault });
  return { fault, retryAfterMs: 1000 * (Number(headers.get('retry-after')) || 0) };
}

function checked<T>(schema: z.ZodType<T>, answer: unknown, route: string): T {
  const result = schema.safeParse(answer);
  if (result.success) return result.data;
  throw new LoraxError('TRAINING_FAILED', { reason: `the answer of ${route} is not what OpenAI's is` });
}

function baseOf(url: string): string {
  const option = '--url';
  if (!URL.canParse(url)) throw new LoraxError('OPTION_INVALID', { option, reason: `${url} is no URL` });
  const { protocol } = new URL(url);
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new LoraxError('OPTION_INVALID', { option, reason: 'must begin with http:// or https://' });
  }
  return url.replace(/\/+$/, '').replace(/\/(?:chat\/)?completions$/, '');
}

function authorization(apiKey: string | undefined): Record<string, string> {
  return apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
}

function unreachable(url: string, error: unknown): string {
  const { cause, message } = error as Error;
  return `${url} cannot be reached: ${cause instanceof Error ? cause.message : message}`;
}

/**
 * One generation request over HTTP from arrival to its last byte: its abort signal, its clock and its metrics. Ends exactly
 * once, well or badly; what it started is aborted when it ends badly. Knows no wire format.
 */

import type { Context } from 'hono';
import type { Answer } from './answer.ts';
import type { ApiContext } from './context.ts';
import { asLoraxError } from './errors.ts';

export class Call {
  readonly c: Context;
  readonly api: ApiContext;
  readonly #abort = new AbortController();
  readonly #client: AbortSignal;
  readonly #startedMs = performance.now();
  readonly #onGone = (): void => this.drop();
  #ended = false;

  constructor(c: Context, api: ApiContext) {
    this.c = c;
    this.api = api;
    this.#client = c.req.raw.signal;
    api.metrics.requestCount.inc();
    this.#client.addEventListener('abort', this.#onGone, { once: true });
    if (this.#client.aborted) this.#onGone();
  }

  /** Aborted when the client has gone or a part of the request failed. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** Observes one sequence that ran to its end; a request may have several. */
  observe({ request, generation, result, times }: Omit<Answer, 'tokens'>): void {
    const { metrics, serving } = this.api;
    const { generatedTokens, skippedTokens } = result;
    metrics.requestValidationDuration.observe(times.validationMs / 1000);
    metrics.requestQueueDuration.observe(times.queueMs / 1000);
    metrics.requestInferenceDuration.observe(times.inferenceMs / 1000);
    metrics.requestMeanTimePerTokenDuration.observe(times.inferenceMs / 1000 / Math.max(generatedTokens, 1));
    metrics.requestGeneratedTokens.observe(generatedTokens);
    metrics.requestSkippedTokens.observe(skippedTokens);
    metrics.requestInputLength.observe(generation.promptTokens);
    metrics.requestMaxNewTokens.observe(
      request.maxNewTokens ?? Math.max(serving.limits.maxTotalTokens - generation.promptTokens, 0),
    );
  }

  /** The whole answer is there. */
  answered(answers: readonly Answer[]): void {
    for (const answer of answers) this.observe(answer);
    this.succeed();
  }

  succeed(): void {
    if (!this.#end()) return;
    this.api.metrics.requestSuccess.inc();
    this.api.metrics.requestDuration.observe(this.elapsedMs / 1000);
  }

  fail(error: unknown): void {
    this.#fail(failureLabel(error), error);
  }

  /** The client closed the connection. */
  drop(): void {
    this.#fail('dropped', this.#client.reason);
  }

  #fail(err: RequestFailure, reason: unknown): void {
    if (!this.#end()) return;
    this.api.metrics.requestFailure.inc({ err });
    this.#abort.abort(reason);
  }

  /** False where it had ended before. */
  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#client.removeEventListener('abort', this.#onGone);
    return true;
  }
}

/** The values of LoRAX's label `err`. */
type RequestFailure = 'overloaded' | 'validation' | 'template' | 'incomplete' | 'dropped' | 'generation';

const LABELS: Readonly<Record<string, RequestFailure>> = {
  overloaded: 'overloaded',
  template_error: 'template',
  incomplete_generation: 'incomplete',
  generation: 'generation',
};

function failureLabel(error: unknown): RequestFailure {
  const { status, errorType } = asLoraxError(error).spec;
  return LABELS[errorType] ?? (status < 500 ? 'validation' : 'generation');
}

/** A handler for one generation route: whatever `respond` throws ends the call before it becomes the response. */
export function generationHandler(
  api: ApiContext,
  respond: (call: Call) => Promise<Response>,
): (c: Context) => Promise<Response> {
  return async (c) => {
    const call = new Call(c, api);
    try {
      return await respond(call);
    } catch (error) {
      call.fail(error);
      throw error;
    }
  };
}

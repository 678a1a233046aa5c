/**
 * Takes requests in: counts them, turns their prompt into tokens, checks lengths, leases their adapter, and queues them.
 * Everything that can be wrong with a request is found here, before it costs a step.
 */

import { invalidField, LoraxError } from '../base/errors.ts';
import type { AdapterLease } from '../adapters/adapter-lease.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { AdapterChoice } from '../base/adapter-reference.ts';
import type { Generation, GenerationRequest, Generator } from './request.ts';
import { RunningRequest } from './running-request.ts';
import type { Scheduler } from './scheduler.ts';

export interface IntakeLimits {
  readonly maxConcurrentRequests: number;
  /** Prompt tokens. */
  readonly maxInputLength: number;
  /** Prompt and generated tokens together. */
  readonly maxTotalTokens: number;
  readonly vocabSize: number;
}

export interface IntakeParts {
  readonly limits: IntakeLimits;
  readonly tokenizer: Tokenizer;
  readonly eosTokenIds: ReadonlySet<number>;
  readonly scheduler: Scheduler;
  readonly adapters: { acquire(choice: AdapterChoice, signal: AbortSignal): Promise<AdapterLease> };
}

export class Intake implements Generator {
  readonly #parts: IntakeParts;
  #inHand = 0;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  async generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation> {
    const { limits } = this.#parts;
    if (this.#inHand >= limits.maxConcurrentRequests) {
      throw new LoraxError('OVERLOADED', { limit: limits.maxConcurrentRequests });
    }
    this.#inHand++;
    let lease: AdapterLease | undefined;
    const release = (): void => {
      this.#inHand--;
      lease?.release();
    };
    try {
      return await this.#accept(request, signal, release, (taken) => (lease = taken));
    } catch (error) {
      release();
      throw error;
    }
  }

  async #accept(
    request: GenerationRequest,
    signal: AbortSignal,
    release: () => void,
    onLease: (lease: AdapterLease) => void,
  ): Promise<Generation> {
    const { tokenizer, scheduler, adapters, eosTokenIds } = this.#parts;
    const receivedAt = performance.now();
    const promptIds = await this.#tokenise(request, signal);
    const maxNewTokens = this.#maxNewTokens(request, promptIds.length);
    const lease = request.adapter && (await adapters.acquire(request.adapter, signal));
    if (lease) onLease(lease);
    signal.throwIfAborted();
    const accepted = { request, promptIds, maxNewTokens, adapters: lease?.slots ?? [], receivedAt, signal, release };
    const running = new RunningRequest(accepted, tokenizer, eosTokenIds);
    const promptText = this.#promptText(request, promptIds);
    // Nothing may fail from here on: the scheduler gives back what was taken.
    scheduler.enqueue(running, request.sampling);
    return {
      promptTokens: promptIds.length,
      promptText,
      adapterGeneration: lease?.generation,
      prompt: running.prompt,
      events: running.events,
    };
  }

  async #tokenise({ prompt, addSpecialTokens, truncate }: GenerationRequest, signal: AbortSignal): Promise<number[]> {
    const { tokenizer, limits } = this.#parts;
    const ids = 'text' in prompt ? await tokenizer.encode(prompt.text, addSpecialTokens, signal) : [...prompt.tokens];
    const outside = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= limits.vocabSize);
    if (outside !== undefined) throw invalidField('inputs', `has token id ${outside}, outside the vocabulary`);
    const kept = truncate === undefined ? ids : ids.slice(-truncate);
    if (kept.length === 0) throw invalidField('inputs', 'must not be empty');
    if (kept.length > limits.maxInputLength) {
      throw invalidField('inputs', `has ${kept.length} tokens; at most ${limits.maxInputLength} are allowed`);
    }
    return kept;
  }

  #maxNewTokens({ maxNewTokens }: GenerationRequest, promptLen: number): number {
    const { maxTotalTokens } = this.#parts.limits;
    const room = maxTotalTokens - promptLen;
    if (maxNewTokens === undefined) return room;
    if (maxNewTokens <= room) return maxNewTokens;
    const reason = `is ${maxNewTokens}; with ${promptLen} prompt tokens at most ${room} of ${maxTotalTokens} are left`;
    throw invalidField('max_new_tokens', reason);
  }

  /** The caller's own text where it was used whole; decoding would lose what the tokenizer normalises. */
  #promptText({ prompt, truncate }: GenerationRequest, promptIds: readonly number[]): string {
    if ('text' in prompt && truncate === undefined) return prompt.text;
    return this.#parts.tokenizer.decode(promptIds, { skipSpecialTokens: true });
  }
}

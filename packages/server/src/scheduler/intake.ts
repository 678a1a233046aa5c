/**
 * Takes requests in: counts them, leases their adapter, has their prompt read with its tokenizer, and queues them.
 * Everything that can be wrong with a request is found here, before it costs a step.
 */

import { invalidField, LoraxError } from '../base/errors.ts';
import type { AdapterLease } from '../adapters/store/adapter-lease.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { AdapterChoice } from '../base/adapter-reference.ts';
import { type PromptLimits, PromptReader } from './prompt-reader.ts';
import type { Generation, GenerationRequest, Generator } from './request.ts';
import { RunningRequest } from './running-request.ts';
import type { Scheduler } from './scheduler.ts';
import { chooseDrafting, type SpeculationDefaults } from './speculation.ts';

export interface IntakeLimits extends PromptLimits {
  readonly maxConcurrentRequests: number;
  /** Prompt and generated tokens together. */
  readonly maxTotalTokens: number;
}

export interface IntakeParts {
  readonly limits: IntakeLimits;
  /** Of requests whose adapter brings none of its own. */
  readonly tokenizer: Tokenizer;
  readonly eosTokenIds: ReadonlySet<number>;
  readonly scheduler: Scheduler;
  readonly speculation: SpeculationDefaults;
  readonly adapters: { acquire(choice: AdapterChoice, signal: AbortSignal): Promise<AdapterLease> };
}

export class Intake implements Generator {
  readonly #parts: IntakeParts;
  readonly #prompts: PromptReader;
  #inHand = 0;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#prompts = new PromptReader(parts.limits);
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
    const { scheduler, adapters } = this.#parts;
    const receivedAt = performance.now();
    const lease = request.adapter && (await adapters.acquire(request.adapter, signal));
    if (lease) onLease(lease);
    const tokenizer = lease?.tokenizer ?? this.#parts.tokenizer;
    const { ids: promptIds, text: promptText } = await this.#prompts.read(request, tokenizer, signal);
    const maxNewTokens = this.#maxNewTokens(request, promptIds.length);
    signal.throwIfAborted();
    const drafting = chooseDrafting(
      {
        speculation: request.speculation,
        sampling: request.sampling,
        adapter: request.adapter,
        adapterGeneration: lease?.generation,
        heads: lease?.heads,
      },
      this.#parts.speculation,
    );
    const slots = lease?.slots ?? [];
    const accepted = { request, promptIds, maxNewTokens, adapters: slots, drafting, receivedAt, signal, release };
    const running = new RunningRequest(accepted, tokenizer, this.#eosTokenIds(lease));
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

  /** An adapter that was trained with a tokenizer of its own may end its answers as that one does. */
  #eosTokenIds(lease: AdapterLease | undefined): ReadonlySet<number> {
    const { eosTokenIds } = this.#parts;
    return lease?.tokenizer ? new Set([...eosTokenIds, ...lease.tokenizer.eosTokenIds]) : eosTokenIds;
  }

  #maxNewTokens({ maxNewTokens }: GenerationRequest, promptLen: number): number {
    const { maxTotalTokens } = this.#parts.limits;
    const room = maxTotalTokens - promptLen;
    if (maxNewTokens === undefined) return room;
    if (maxNewTokens <= room) return maxNewTokens;
    const reason = `is ${maxNewTokens}; with ${promptLen} prompt tokens at most ${room} of ${maxTotalTokens} are left`;
    throw invalidField('max_new_tokens', reason);
  }
}

/**
 * Whether a caller may use an adapter, asked on every request: the source's answers, remembered for a short time per
 * caller. Tokens are part of a memory's key only as a hash. Knows nothing about what is resident.
 */

import { createHash } from 'node:crypto';

import { LRUCache } from 'lru-cache';

import type { AdapterReference } from '../base/adapter-reference.ts';
import { LoraxError } from '../base/errors.ts';
import { SharedJobs } from './shared-jobs.ts';
import type { AdapterLocation, Sources } from './source.ts';

/** Refusals are remembered for less long than `cacheMs` where that is more: an upload or a grant shows soon. */
export const REFUSAL_MS = 5000;
/** Answers that are remembered at the same time; the least recently used is asked for again. */
const MAX_ANSWERS = 10_000;
/** Forbidden, not found, not ready, invalid: what a source says about this caller and this id. */
const REFUSALS: ReadonlySet<number> = new Set([403, 404, 409, 422]);

export interface AccessOptions {
  /** For how long an answer is good; 0 asks at each request. */
  readonly cacheMs: number;
  /** What a caller is told while the source cannot be asked: that, or what the same caller was told last if it was yes. */
  readonly onError: 'deny' | 'allow-cached';
  readonly now?: () => number;
}

type Answer =
  | { readonly kind: 'allowed'; readonly untilMs: number; readonly location: AdapterLocation }
  | { readonly kind: 'refused'; readonly untilMs: number; readonly error: LoraxError };

export class AccessCheck {
  readonly #sources: Sources;
  readonly #cacheMs: number;
  readonly #refusalMs: number;
  readonly #onError: AccessOptions['onError'];
  readonly #now: () => number;
  readonly #answers = new LRUCache<string, Answer>({ max: MAX_ANSWERS });
  readonly #questions = new SharedJobs<AdapterLocation>();

  constructor(sources: Sources, { cacheMs, onError, now = () => performance.now() }: AccessOptions) {
    this.#sources = sources;
    this.#cacheMs = cacheMs;
    this.#refusalMs = Math.min(REFUSAL_MS, cacheMs);
    this.#onError = onError;
    this.#now = now;
  }

  /** Where the adapter is, for a caller who may use it. Rejects as `Source.locate` does, or with the signal's reason. */
  async check(reference: AdapterReference, signal: AbortSignal): Promise<AdapterLocation> {
    signal.throwIfAborted();
    // Local adapters belong to the operator: there is nobody to ask, and what is replaced shows at once.
    if (reference.source === 'local') return this.#ask(reference, signal);
    const key = keyOf(reference);
    const answer = this.#answers.get(key);
    if (answer !== undefined && this.#now() < answer.untilMs) return settle(answer);
    return this.#questions.run(key, signal, (shared) => this.#askAndRemember(key, reference, shared));
  }

  async #askAndRemember(key: string, reference: AdapterReference, signal: AbortSignal): Promise<AdapterLocation> {
    // The answer is as old as the question: it may have been made right after that.
    const askedMs = this.#now();
    try {
      const location = await this.#ask(reference, signal);
      this.#answers.set(key, { kind: 'allowed', untilMs: askedMs + this.#cacheMs, location });
      return location;
    } catch (error) {
      if (!(error instanceof LoraxError)) throw error;
      if (error.code === 'ADAPTER_UNREACHABLE') return this.#withoutSource(key, error);
      if (REFUSALS.has(error.spec.status)) {
        this.#answers.set(key, { kind: 'refused', untilMs: askedMs + this.#refusalMs, error });
      }
      throw error;
    }
  }

  #withoutSource(key: string, error: LoraxError): AdapterLocation {
    const answer = this.#answers.get(key);
    if (this.#onError === 'deny' || answer?.kind !== 'allowed') throw error;
    // The next requests need not wait as long as this one to learn that nobody answers.
    this.#answers.set(key, { ...answer, untilMs: this.#now() + this.#refusalMs });
    return answer.location;
  }

  #ask({ id, source, apiToken }: AdapterReference, signal: AbortSignal): Promise<AdapterLocation> {
    return this.#sources[source].locate(id, { ...(apiToken !== undefined && { apiToken }), signal });
  }
}

function settle(answer: Answer): AdapterLocation {
  if (answer.kind === 'refused') throw answer.error;
  return answer.location;
}

function keyOf({ source, id, apiToken }: AdapterReference): string {
  const caller = apiToken === undefined ? undefined : sha256(apiToken);
  return sha256(JSON.stringify([source, id, caller]));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

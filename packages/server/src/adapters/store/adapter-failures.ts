/**
 * Remembers for a few seconds why an adapter could not be had, so that one that is broken is not read a thousand times.
 * Knows no adapters.
 */

import { LRUCache } from 'lru-cache';
import { LoraxError } from '../../base/errors.ts';

/** What is wrong with the adapter itself stays wrong: its content has to change, and then it has another key. */
const LASTING_MS = 5000;
/** A network, a disk or memory may recover at any time. */
const PASSING_MS = 1000;
/** An error may carry a whole load report. */
const MAX_REMEMBERED = 256;

export interface RememberedFailure {
  readonly error: unknown;
  /** Unix milliseconds. */
  readonly retryAtMs: number;
}

export class AdapterFailures {
  readonly #failures = new LRUCache<string, RememberedFailure>({ max: MAX_REMEMBERED });
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Throws what was remembered under this key, while it holds. */
  check(key: string): void {
    const failure = this.#failures.get(key);
    if (failure === undefined) return;
    if (this.#now() < failure.retryAtMs) throw failure.error;
    this.#failures.delete(key);
  }

  /** Answers that concern one caller (no access, not found) are not remembered: undefined. */
  remember(key: string, error: unknown): RememberedFailure | undefined {
    const lifeMs = lifeOf(error);
    if (lifeMs === 0) return undefined;
    const failure = { error, retryAtMs: this.#now() + lifeMs };
    this.#failures.set(key, failure);
    return failure;
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }
}

function lifeOf(error: unknown): number {
  if (!(error instanceof LoraxError)) return PASSING_MS;
  const { status } = error.spec;
  if (status >= 500) return PASSING_MS;
  return status === 422 ? LASTING_MS : 0;
}

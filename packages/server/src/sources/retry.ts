/** Tries again after faults that may pass, with growing pauses. Knows nothing about what is tried. */

import { setTimeout as pause } from 'node:timers/promises';

import { SourceFault } from './source-fault.ts';

export interface RetryPolicy {
  /** Tries in all. */
  readonly attemptCount: number;
  /** Before the second try; doubles for each further one. */
  readonly firstPauseMs: number;
}

export const DEFAULT_RETRIES: RetryPolicy = { attemptCount: 5, firstPauseMs: 500 };

/** A server that asks for a longer pause than this gets the failure passed on: somebody waits for the answer. */
const MAX_PAUSE_MS = 60_000;

/** Rejects with the last fault, or with the signal's reason. Failures count anew once `hasProgressed`. */
export async function withRetries<T>(
  { attemptCount, firstPauseMs }: RetryPolicy,
  signal: AbortSignal,
  attempt: () => Promise<T>,
  hasProgressed: () => boolean = () => false,
): Promise<T> {
  for (let failureCount = 0; ;) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof SourceFault) || error.kind !== 'temporary') throw error;
      failureCount = hasProgressed() ? 1 : failureCount + 1;
      const asked = error.retryAfterMs ?? 0;
      if (failureCount >= attemptCount || asked > MAX_PAUSE_MS) throw error;
      // Half of the pause is random, so that many servers cut off at once do not come back at once.
      const growing = firstPauseMs * 2 ** (failureCount - 1) * (0.5 + Math.random() / 2);
      await wait(Math.max(asked, growing), signal);
    }
  }
}

/** Rejects with the signal's reason. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await pause(ms, undefined, { signal });
  } catch {
    // The timer rejects with its own error; callers are owed the reason they gave.
    signal.throwIfAborted();
  }
}

/** One piece of work per key at a time, however many wait for it. It is aborted when nobody waits any more. */

import { untilAborted } from '../base/until-aborted.ts';

interface Job<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiterCount: number;
}

export class SharedJobs<T> {
  readonly #jobs = new Map<string, Job<T>>();

  /** Joins the work under this key or starts it. Rejects with `signal.reason` without stopping the work for others. */
  async run(key: string, signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    for (let old = this.#jobs.get(key); old?.controller.signal.aborted === true; old = this.#jobs.get(key)) {
      // Work that is being given up still holds its file; joining it would end in somebody else's abort.
      await untilAborted(settled(old), signal);
    }
    const job = this.#jobs.get(key) ?? this.#start(key, start);
    job.waiterCount++;
    try {
      return await untilAborted(job.result, signal);
    } finally {
      if (--job.waiterCount === 0) {
        job.controller.abort();
        await settled(job);
      }
    }
  }

  #start(key: string, start: (signal: AbortSignal) => Promise<T>): Job<T> {
    const controller = new AbortController();
    const result = start(controller.signal).finally(() => this.#jobs.delete(key));
    const job: Job<T> = { result, controller, waiterCount: 0 };
    this.#jobs.set(key, job);
    return job;
  }
}

async function settled(job: Job<unknown>): Promise<void> {
  await job.result.catch(() => undefined);
}

/** A few text workers with a queue before them; workers that ended are replaced. Knows nothing about what jobs mean. */
import { LoraxError } from '../base/errors.ts';
import type { TextJob, TextJobKind, TextJobs } from './text-job.ts';
import { type TextTask, TextWorker, type TextWorkerOptions } from './text-worker.ts';

export interface WorkerPoolOptions extends TextWorkerOptions {
  /** Most workers at a time; each starts when it is first needed. */
  readonly size: number;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<TextWorker>();
  /** Workers that are ending; `dispose` waits for them too. */
  readonly #ending = new Set<Promise<void>>();
  #queue: TextTask[] = [];
  #disposed = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  /**
   * Rejects with a `JobError`, or with the signal's reason. After an abort a job that already runs is left to end by
   * itself or at its deadline: ending its worker would make other callers wait for a new one.
   */
  run<K extends TextJobKind>(
    kind: K,
    input: TextJobs[K]['input'],
    signal?: AbortSignal,
  ): Promise<TextJobs[K]['output']> {
    return new Promise<TextJobs[TextJobKind]['output']>((resolve, reject) => {
      if (this.#disposed) return reject(new LoraxError('SHUTTING_DOWN'));
      if (signal?.aborted === true) return reject(signal.reason);
      const onAbort = (): void => {
        this.#queue = this.#queue.filter((queued) => queued !== task);
        reject(signal?.reason);
      };
      const settled = <V>(settle: (value: V) => void): ((value: V) => void) => {
        return (value) => {
          signal?.removeEventListener('abort', onAbort);
          settle(value);
        };
      };
      const task: TextTask = { job: { kind, input } as TextJob, resolve: settled(resolve), reject: settled(reject) };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#queue.push(task);
      this.#pump();
    });
  }

  /** Rejects what is queued or running and ends all threads. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    const reason = new LoraxError('SHUTTING_DOWN');
    for (const task of this.#queue.splice(0)) task.reject(reason);
    const workers = [...this.#workers];
    this.#workers.clear();
    await Promise.all([...workers.map((worker) => worker.terminate(reason)), ...this.#ending]);
  }

  #pump(): void {
    for (const worker of this.#workers) {
      if (worker.gone) this.#retire(worker);
    }
    while (this.#queue.length > 0 && !this.#disposed) {
      const worker = this.#freeWorker();
      const task = worker === undefined ? undefined : this.#queue.shift();
      if (worker === undefined || task === undefined) return;
      worker.start(task);
    }
  }

  #freeWorker(): TextWorker | undefined {
    for (const worker of this.#workers) {
      if (worker.idle) return worker;
    }
    if (this.#workers.size >= this.#options.size) return undefined;
    const worker = new TextWorker(this.#options, () => this.#pump());
    this.#workers.add(worker);
    return worker;
  }

  #retire(worker: TextWorker): void {
    this.#workers.delete(worker);
    const ended = worker.terminate(undefined).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }
}

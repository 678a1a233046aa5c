/**
 * A few text workers with a queue before them; workers that ended are replaced. Jobs belong to owners, which take turns:
 * one whose jobs run into their deadlines delays the others by no more than the job at hand. Knows nothing about what
 * jobs mean.
 */
import { LoraxError } from '../base/errors.ts';
import type { TextJob, TextJobKind, TextJobs } from './text-job.ts';
import { type TextTask, TextWorker, type TextWorkerOptions } from './text-worker.ts';

export interface WorkerPoolOptions extends TextWorkerOptions {
  /** Most workers at a time; each starts when it is first needed. */
  readonly size: number;
}

/** On whose behalf a job runs: two owners are told apart by identity. */
export interface JobOwner {
  /** Jobs at a time; what its jobs may keep others from. */
  readonly maxRunning: number;
}

interface Turn {
  readonly queue: TextTask[];
  runningCount: number;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<TextWorker>();
  /** Workers that are ending; `dispose` waits for them too. */
  readonly #ending = new Set<Promise<void>>();
  /** Owners with jobs; the one whose turn is longest ago comes first. */
  readonly #turns = new Map<JobOwner, Turn>();
  #disposed = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  /**
   * Rejects with a `JobError`, or with the signal's reason. After an abort a job that already runs is left to end by
   * itself or at its deadline: ending its worker would make other callers wait for a new one.
   */
  run<K extends TextJobKind>(
    owner: JobOwner,
    kind: K,
    input: TextJobs[K]['input'],
    signal?: AbortSignal,
  ): Promise<TextJobs[K]['output']> {
    return new Promise<TextJobs[TextJobKind]['output']>((resolve, reject) => {
      if (this.#disposed) return reject(new LoraxError('SHUTTING_DOWN'));
      if (signal?.aborted === true) return reject(signal.reason);
      const onAbort = (): void => {
        this.#withdraw(owner, task);
        reject(signal?.reason);
      };
      const settled = <V>(settle: (value: V) => void): ((value: V) => void) => {
        return (value) => {
          signal?.removeEventListener('abort', onAbort);
          this.#endTurn(owner);
          settle(value);
        };
      };
      const task: TextTask = { job: { kind, input } as TextJob, resolve: settled(resolve), reject: settled(reject) };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#enqueue(owner, task);
      this.#pump();
    });
  }

  /** Rejects what is queued or running and ends all processes. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    const reason = new LoraxError('SHUTTING_DOWN');
    const queued = [...this.#turns.values()].flatMap(({ queue }) => queue);
    this.#turns.clear();
    for (const task of queued) task.reject(reason);
    const workers = [...this.#workers];
    this.#workers.clear();
    await Promise.all([...workers.map((worker) => worker.terminate(reason)), ...this.#ending]);
  }

  #enqueue(owner: JobOwner, task: TextTask): void {
    const turn = this.#turns.get(owner);
    if (turn === undefined) this.#turns.set(owner, { queue: [task], runningCount: 0 });
    else turn.queue.push(task);
  }

  #withdraw(owner: JobOwner, task: TextTask): void {
    const queue = this.#turns.get(owner)?.queue ?? [];
    const at = queue.indexOf(task);
    if (at >= 0) queue.splice(at, 1);
    this.#forgetIdle(owner);
  }

  #pump(): void {
    for (const worker of this.#workers) {
      if (worker.gone) this.#retire(worker);
    }
    for (;;) {
      const turn = this.#disposed ? undefined : this.#nextTurn();
      const worker = turn && this.#freeWorker();
      const task = worker && turn?.queue.shift();
      if (task === undefined || turn === undefined) return;
      turn.runningCount++;
      worker?.start(task);
    }
  }

  #nextTurn(): Turn | undefined {
    for (const [{ maxRunning }, turn] of this.#turns) {
      if (turn.queue.length > 0 && turn.runningCount < maxRunning) return turn;
    }
    return undefined;
  }

  /** The owner goes behind all others, also behind those that came while its job ran. */
  #endTurn(owner: JobOwner): void {
    const turn = this.#turns.get(owner);
    if (turn === undefined) return;
    turn.runningCount--;
    this.#turns.delete(owner);
    this.#turns.set(owner, turn);
    this.#forgetIdle(owner);
  }

  #forgetIdle(owner: JobOwner): void {
    const turn = this.#turns.get(owner);
    if (turn?.queue.length === 0 && turn.runningCount === 0) this.#turns.delete(owner);
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

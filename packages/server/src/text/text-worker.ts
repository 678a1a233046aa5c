/** One worker thread and the job that it is at. Ends the thread when a job outlives its deadline. Knows no queue. */
import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { countHandle } from '../base/handles.ts';
import type { TextJob, TextJobKind, TextJobs, TextReply, TextWorkerData } from './text-job.ts';

export interface TextWorkerOptions {
  readonly workerData: TextWorkerData;
  /** Running time of one job. */
  readonly deadlineMs: number;
  /** Memory of the worker's JavaScript heap. */
  readonly maxHeapMb: number;
}

/** A job that gave no result; the message says why, as a sentence about "it". */
export class JobError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'JobError';
  }
}

/** A job with the promise that waits for it. */
export interface TextTask {
  readonly job: TextJob;
  readonly resolve: (output: TextJobs[TextJobKind]['output']) => void;
  readonly reject: (reason: unknown) => void;
}

export class TextWorker {
  readonly #options: TextWorkerOptions;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #onFree: () => void;
  #task: TextTask | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ready = false;
  #gone = false;

  /** `onFree` runs whenever the worker can take a job again, or never will (`gone`). */
  constructor(options: TextWorkerOptions, onFree: () => void) {
    this.#options = options;
    this.#onFree = onFree;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: options.workerData,
      resourceLimits: { maxOldGenerationSizeMb: options.maxHeapMb },
    });
    countHandle('worker', 1);
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve(this.#exit())));
    this.#worker.on('message', (reply: TextReply) => this.#receive(reply));
    this.#worker.on('error', (error) => this.#fail(crash(error, options.maxHeapMb)));
  }

  get idle(): boolean {
    return !this.#gone && this.#task === undefined;
  }

  get gone(): boolean {
    return this.#gone;
  }

  start(task: TextTask): void {
    assert(this.idle, 'a worker that is busy or gone was given a job');
    this.#task = task;
    try {
      this.#worker.postMessage(task.job);
    } catch (error) {
      this.#finish()?.reject(new JobError('its variables cannot be sent to a worker', { cause: error }));
      this.#onFree();
      return;
    }
    if (this.#ready) this.#startClock();
  }

  /** Ends the thread, also in the middle of a job, which is rejected with `reason`. */
  async terminate(reason: unknown): Promise<void> {
    this.#gone = true;
    this.#finish()?.reject(reason);
    await this.#worker.terminate();
    await this.#exited;
  }

  #receive(reply: TextReply): void {
    if (reply.kind === 'ready') {
      this.#ready = true;
      if (this.#task !== undefined) this.#startClock();
      return;
    }
    const task = this.#finish();
    if (reply.kind === 'done') task?.resolve(reply.output);
    else task?.reject(new JobError(reply.message));
    this.#onFree();
  }

  /** The clock starts when the job does: the time that a new thread needs to boot is not the job's. */
  #startClock(): void {
    const { deadlineMs } = this.#options;
    this.#timer = setTimeout(() => this.#fail(new JobError(`it took longer than ${deadlineMs} ms`)), deadlineMs);
  }

  #fail(reason: JobError): void {
    void this.terminate(reason);
    this.#onFree();
  }

  #finish(): TextTask | undefined {
    clearTimeout(this.#timer);
    const task = this.#task;
    this.#task = undefined;
    return task;
  }

  #exit(): void {
    countHandle('worker', -1);
    this.#worker.removeAllListeners();
    if (this.#gone) return;
    this.#gone = true;
    this.#finish()?.reject(new JobError('its worker ended unexpectedly'));
    this.#onFree();
  }
}

function crash(error: unknown, maxHeapMb: number): JobError {
  const outOfMemory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
  const message = outOfMemory ? `it needed more than ${maxHeapMb} MB of memory` : 'its worker failed';
  return new JobError(message, { cause: error });
}

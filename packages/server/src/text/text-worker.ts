/**
 * One worker process and the job that it is at. Ends the process when a job outlives its deadline. Knows no queue.
 * A thread would not do: where one allocation exceeds a thread's heap limit, V8 ends the whole process, and templates and
 * tokenizers are written by strangers.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert } from '../base/assert.ts';
import { countHandle } from '../base/handles.ts';
import type { TextJob, TextJobKind, TextJobs, TextReply } from './text-job.ts';

export interface TextWorkerOptions {
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

/** How V8 ends a process whose heap is full. */
const FATAL_SIGNALS: ReadonlySet<string | null> = new Set(['SIGABRT', 'SIGTRAP', 'SIGILL']);

export class TextWorker {
  readonly #options: TextWorkerOptions;
  readonly #process: ChildProcess;
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
    this.#process = fork(fileURLToPath(new URL('./worker.js', import.meta.url)), {
      // The environment may hold tokens, which are no business of a template.
      env: {},
      execArgv: [`--max-old-space-size=${options.maxHeapMb}`],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    countHandle('worker', 1);
    this.#exited = new Promise((resolve) => {
      this.#process.once('exit', (_, signal) => resolve(this.#exit(signal)));
      this.#process.once('error', () => this.#process.pid === undefined && resolve(this.#exit(null)));
    });
    this.#process.on('message', (reply: TextReply) => this.#receive(reply));
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
      this.#send(withoutSource(task.job));
    } catch (error) {
      this.#finish()?.reject(new JobError('its variables cannot be sent to a worker', { cause: error }));
      this.#onFree();
      return;
    }
    if (this.#ready) this.#startClock();
  }

  /** Ends the process, also in the middle of a job, which is rejected with `reason`. */
  async terminate(reason: unknown): Promise<void> {
    this.#gone = true;
    this.#finish()?.reject(reason);
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  #send(job: TextJob): void {
    // A message that the process does not live to read is answered by its exit.
    this.#process.send(job, () => undefined);
  }

  #receive(reply: TextReply): void {
    if (reply.kind === 'ready') {
      this.#ready = true;
      if (this.#task !== undefined) this.#startClock();
      return;
    }
    if (reply.kind === 'missing') {
      if (this.#task !== undefined) this.#send(this.#task.job);
      return;
    }
    const task = this.#finish();
    if (reply.kind === 'done') task?.resolve(reply.output);
    else task?.reject(new JobError(reply.message));
    this.#onFree();
  }

  /** The clock starts when the job does: the time that a new process needs to boot is not the job's. */
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

  #exit(signal: NodeJS.Signals | null): void {
    countHandle('worker', -1);
    this.#process.removeAllListeners('message');
    if (this.#gone) return;
    this.#gone = true;
    const { maxHeapMb } = this.#options;
    const outOfMemory = FATAL_SIGNALS.has(signal);
    const message = outOfMemory ? `it needed more than ${maxHeapMb} MB of memory` : 'its worker ended unexpectedly';
    this.#finish()?.reject(new JobError(message));
    this.#onFree();
  }
}

/** Most workers have the codec already. */
function withoutSource(job: TextJob): TextJob {
  if (!('codec' in job.input)) return job;
  return { ...job, input: { ...job.input, codec: { key: job.input.codec.key } } } as TextJob;
}

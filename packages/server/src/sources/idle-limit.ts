/** A caller's signal joined with a time limit that starts anew at each sign of life. */

import { SourceFault } from './source-fault.ts';

export class IdleLimit {
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal;
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort = (): void => this.#controller.abort(this.#caller.reason);

  /** `peer` is who is silent, for the message. */
  constructor(caller: AbortSignal, limitMs: number, peer: string) {
    caller.throwIfAborted();
    this.#caller = caller;
    caller.addEventListener('abort', this.#onAbort, { once: true });
    const fault = new SourceFault('temporary', `${peer} sent nothing for ${limitMs / 1000} s`);
    this.#timer = setTimeout(() => this.#controller.abort(fault), limitMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  touch(): void {
    this.#timer.refresh();
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#caller.removeEventListener('abort', this.#onAbort);
  }
}

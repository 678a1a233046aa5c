/** An order of work on the device. Waiting leaves the event loop free. */

import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';

/** Not ordered with work that names no stream. */
const NON_BLOCKING = 1;
const NOT_READY = 600;

export class Stream {
  readonly handle: Pointer;
  readonly #driver: Driver;

  constructor(driver: Driver) {
    const handle = new BigUint64Array(1);
    requireSuccess(driver.streamCreate(handle, NON_BLOCKING), 'a stream');
    this.#driver = driver;
    this.handle = handle[0]!;
    countHandle('cuda stream', 1);
  }

  /** Settles when all work given so far is done; rejects with GENERATION where some of it failed. */
  async finish(what: string): Promise<void> {
    // Asked for again on every turn: a thread that waited inside the driver would answer later, and need the context.
    for (;;) {
      const result = this.#driver.streamQuery(this.handle);
      if (result !== NOT_READY) return requireSuccess(result, what);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The same at once, where nothing runs that could take long. */
  wait(what: string): void {
    requireSuccess(this.#driver.streamSynchronize(this.handle), what);
  }

  /** Whether its card answers with an error, as it does for good once a kernel failed. */
  get hasFailed(): boolean {
    return ![0, NOT_READY].includes(this.#driver.streamQuery(this.handle));
  }

  dispose(): void {
    this.#driver.streamDestroy(this.handle);
    countHandle('cuda stream', -1);
  }
}

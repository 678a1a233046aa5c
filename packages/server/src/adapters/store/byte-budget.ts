/** Counts bytes against a limit. Knows nothing about what they are spent on, nor whom to take them from. */

import { assert } from '../../base/assert.ts';

export interface Reservation {
  readonly byteLength: number;
  /** To what is really used, once that is known. It may be more than was reserved, and the limit is exceeded then. */
  resize(byteLength: number): void;
  /** Idempotent. */
  release(): void;
}

export class ByteBudget {
  readonly limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** 0 while the limit is exceeded. */
  get freeBytes(): number {
    return Math.max(0, this.limitBytes - this.#usedBytes);
  }

  reserve(byteLength: number): Reservation {
    assert(byteLength <= this.freeBytes, 'what is reserved fits');
    let held = byteLength;
    const resize = (to: number): void => {
      this.#usedBytes += to - held;
      held = to;
    };
    this.#usedBytes += byteLength;
    return {
      get byteLength() {
        return held;
      },
      resize,
      release: () => resize(0),
    };
  }
}

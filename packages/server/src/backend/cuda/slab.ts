/** Memory of one value of a program while it is needed; its address is known once the program runs. */

import { assert } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';

export class Slab {
  readonly bytes: number;
  #first = Infinity;
  #last = -1;
  #isKept = false;
  #isNeeded = false;
  #address: Pointer | undefined;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  /** Of the operations that name it, the first. */
  get first(): number {
    return this.#first;
  }

  /** The last; Infinity where it is kept. */
  get last(): number {
    return this.#isKept ? Infinity : this.#last;
  }

  /** Whether anybody reads it: what no operation needs is not even written. */
  get isNeeded(): boolean {
    return this.#isNeeded;
  }

  get address(): Pointer {
    assert(this.#address !== undefined, 'a slab has a place while its program runs');
    return this.#address;
  }

  /** The operation names it, and does without it where it is optional and nobody needs it. */
  use(operation: number, isOptional: boolean): void {
    this.#first = Math.min(this.#first, operation);
    this.#last = Math.max(this.#last, operation);
    this.#isNeeded ||= !isOptional;
  }

  /** Read after the program. */
  keep(): void {
    this.#isKept = true;
    this.#isNeeded = true;
  }

  place(address: Pointer): void {
    this.#address = address;
  }
}

/** Values from the host on their way to the device: all inputs of a program in one block, which goes up in one copy. Pure. */

import { assert } from '../../base/assert.ts';
import { alignedBytes } from './slab-plan.ts';

export type InputData = Int32Array | Float32Array | Uint8Array;

export class InputBlock {
  /** Of each input, in the block. */
  readonly offsets: readonly number[];
  /** Filled anew for each run of the program. Where an input is shorter than its place, what was there before stays behind it. */
  readonly bytes: Uint8Array;
  readonly #byteLengths: readonly number[];

  /** Of each input, at most: one after the other. */
  constructor(byteLengths: readonly number[]) {
    const offsets: number[] = [];
    let end = 0;
    for (const byteLength of byteLengths) {
      offsets.push(end);
      end += alignedBytes(byteLength);
    }
    this.offsets = offsets;
    this.bytes = new Uint8Array(end);
    this.#byteLengths = byteLengths;
  }

  /** As input number `index`. */
  put(index: number, { buffer, byteOffset, byteLength }: InputData): void {
    assert(byteLength <= this.#byteLengths[index]!, 'an input fits its place');
    this.bytes.set(new Uint8Array(buffer, byteOffset, byteLength), this.offsets[index]);
  }
}

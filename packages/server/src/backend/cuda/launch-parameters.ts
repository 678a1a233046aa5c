/** Packs a kernel's arguments as C lays out a parameter list: each at a multiple of its own size. */

import { assert } from '../../base/assert.ts';
import { addressOf, type Pointer } from '../../native/ffi.ts';

/** A letter for each parameter: an address, a 32-bit integer, a float. */
export type Signature = string;

export type Argument = Pointer | number;

const MOST_BYTES = 256;

const PARAMETER_BUFFER = 1n;
const PARAMETER_SIZE = 2n;
const END = 0n;

/** Memory for one list after the other: the driver copies each as it is launched. */
export class LaunchParameters {
  readonly bytes = new ArrayBuffer(MOST_BYTES);
  readonly #view = new DataView(this.bytes);
  readonly #size = new BigUint64Array(1);
  /** `extra` of `cuLaunchKernel`. */
  readonly extra = BigUint64Array.of(
    ...[PARAMETER_BUFFER, addressOf(this.bytes), PARAMETER_SIZE, addressOf(this.#size.buffer), END],
  );

  /** Returns the length in bytes. */
  pack(signature: Signature, values: readonly Argument[]): number {
    assert(signature.length === values.length, `${signature.length} arguments, not ${values.length}`);
    let offset = 0;
    for (const [i, value] of values.entries()) {
      if (typeof value === 'bigint') {
        assert(signature[i] === 'p', `argument ${i} is no address`);
        offset = Math.ceil(offset / 8) * 8;
        this.#view.setBigUint64(offset, value, true);
        offset += 8;
      } else {
        assert(signature[i] === 'i' || signature[i] === 'f', `argument ${i} is an address`);
        if (signature[i] === 'i') this.#view.setInt32(offset, value, true);
        else this.#view.setFloat32(offset, value, true);
        offset += 4;
      }
    }
    this.#size[0] = BigInt(offset);
    return offset;
  }
}

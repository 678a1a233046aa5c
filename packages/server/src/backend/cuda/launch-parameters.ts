/** A kernel's arguments as the driver takes them: each in memory of its own, and a list of where they are. */

import { assert } from '../../base/assert.ts';
import { addressOf, type Pointer } from '../../native/ffi.ts';

/** A letter for each parameter: an address, a 32-bit integer, a float, a map of an array. */
export type Signature = string;

export type Scalar = Pointer | number;

export type Argument = Scalar | Uint8Array;

/** More than any kernel has. */
const MOST_PARAMETERS = 32;
/** Of a map, the largest. */
const PLACE_BYTES = 128;

/** Memory for one list after the other: the driver copies each as it is launched. */
export class LaunchParameters {
  readonly bytes = new ArrayBuffer(MOST_PARAMETERS * PLACE_BYTES);
  readonly #bytes = new Uint8Array(this.bytes);
  readonly #view = new DataView(this.bytes);
  /**
   * `kernelParams` of `cuLaunchKernelEx`. All in one buffer, its other way, was seen to lose every argument of kernels that take
   * maps (driver 580).
   */
  readonly places = BigUint64Array.from({ length: MOST_PARAMETERS }, (_, i) => {
    return addressOf(this.bytes) + BigInt(i * PLACE_BYTES);
  });

  pack(signature: Signature, values: readonly Argument[]): void {
    assert(signature.length === values.length, `${signature.length} arguments, not ${values.length}`);
    for (const [i, value] of values.entries()) {
      const place = i * PLACE_BYTES;
      if (typeof value === 'bigint') {
        assert(signature[i] === 'p', `argument ${i} is no address`);
        this.#view.setBigUint64(place, value, true);
      } else if (typeof value === 'object') {
        assert(signature[i] === 'm', `argument ${i} is no map`);
        this.#bytes.set(value, place);
      } else {
        assert(signature[i] === 'i' || signature[i] === 'f', `argument ${i} is no number`);
        if (signature[i] === 'i') this.#view.setInt32(place, value, true);
        else this.#view.setFloat32(place, value, true);
      }
    }
  }
}

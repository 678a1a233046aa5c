/** Values from the host on their way to the device: all inputs of a program in one block, which goes up in one copy. Pure. */

import { assert } from '../../base/assert.ts';
import { alignedBytes } from './slab-plan.ts';

export type InputData = Int32Array | Float32Array | Uint8Array;

export interface InputLayout {
  /** Of each input, at most. */
  readonly byteLengths: readonly number[];
  readonly offsets: readonly number[];
  readonly byteLength: number;
}

/** One after the other. */
export function layOutInputs(byteLengths: readonly number[]): InputLayout {
  const offsets: number[] = [];
  let end = 0;
  for (const byteLength of byteLengths) {
    offsets.push(end);
    end += alignedBytes(byteLength);
  }
  return { byteLengths, offsets, byteLength: end };
}

/** In one block of host memory. */
export function packInputs(inputs: readonly InputData[], layout: InputLayout): Uint8Array {
  const { byteLengths, offsets, byteLength } = layout;
  const bytes = new Uint8Array(byteLength);
  for (let i = 0; i < inputs.length; i++) {
    const { buffer, byteOffset, byteLength: length } = inputs[i]!;
    assert(length <= byteLengths[i]!, 'an input fits its place');
    bytes.set(new Uint8Array(buffer, byteOffset, length), offsets[i]);
  }
  return bytes;
}

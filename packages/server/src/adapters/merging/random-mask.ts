/**
 * The random choice of DARE. Where it falls depends on the seed, the place and the tensor's own values: the same request
 * gives the same merge, in whichever order the members stand and wherever they lie.
 */

import { createHash } from 'node:crypto';
import { philox4x32 } from '../../base/philox.ts';
import type { Mask } from './pruning.ts';

/** Random words that one block of the generator gives. */
const BLOCK_LEN = 4;

/** Each index stays with probability `density`. `stream` names what is drawn for. Ask for the indexes in ascending order. */
export function randomMask(stream: string, values: Float32Array, density: number): Mask {
  const key = streamKey(stream, values);
  const limit = density * 2 ** 32;
  let block = philox4x32([0, 0, 0, 0], key);
  let blockAt = 0;
  return (index) => {
    const place = index % BLOCK_LEN;
    if (index - place !== blockAt) {
      blockAt = index - place;
      block = philox4x32([blockAt / BLOCK_LEN, 0, 0, 0], key);
    }
    return block[place]! < limit;
  };
}

function streamKey(stream: string, values: Float32Array): readonly [number, number] {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const digest = createHash('sha256').update(`${stream}\n`).update(bytes).digest();
  return [digest.readUInt32LE(0), digest.readUInt32LE(4)];
}

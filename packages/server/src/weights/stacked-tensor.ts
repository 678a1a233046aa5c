/** Several tensors one below the other as one, in memory of its own. */

import { ownBytes, ownFloats, ownTensor, type OwnedTensor } from './owned-tensor.ts';
import { readFloats } from './values.ts';
import type { TensorView } from './tensor-view.ts';

/** Joins tensors of one shape along their first dimension: as stored, or in float32 where they are stored differently. */
export function stackRows(name: string, views: readonly TensorView[]): OwnedTensor {
  const [first] = views;
  const shape = first === undefined ? [0] : [first.shape[0]! * views.length, ...first.shape.slice(1)];
  const parts = views.map(ownTensor);
  const dtype = parts[0]?.dtype;
  if (dtype !== undefined && parts.every((part) => part.dtype === dtype)) {
    return ownBytes(name, dtype, shape, joined(parts.map(({ buffer }) => new Uint8Array(buffer))));
  }
  const floats = views.map((view) => new Uint8Array(readFloats(view).buffer));
  return ownFloats(name, shape, new Float32Array(joined(floats)));
}

function joined(parts: readonly Uint8Array[]): ArrayBuffer {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes.buffer;
}

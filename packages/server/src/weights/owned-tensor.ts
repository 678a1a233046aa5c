/** Tensors in memory of our own, which live as long as somebody holds them. Knows no file and no device. */

import { addressOf, viewMemory } from '../native/ffi.ts';
import { DTYPE_BYTES, elementCount, rowMajorStrides, type Dtype, type TensorView } from './tensor-view.ts';
import { isRowMajor, readFloats } from './values.ts';

/** A view that keeps its bytes: hold the object, not only its address. */
export interface OwnedTensor extends TensorView {
  readonly buffer: ArrayBuffer;
}

/** A row-major tensor of these bytes, which it takes over. */
export function ownBytes(name: string, dtype: Dtype, shape: readonly number[], buffer: ArrayBuffer): OwnedTensor {
  return { name, dtype, shape, strides: rowMajorStrides(shape), address: addressOf(buffer), buffer };
}

/** A row-major tensor with a copy of these values. */
export function ownFloats(name: string, shape: readonly number[], values: Float32Array): OwnedTensor {
  // Short typed arrays lie on the collector's heap, where they may move; a buffer of its own stays where it is.
  const buffer = new ArrayBuffer(values.byteLength);
  new Float32Array(buffer).set(values);
  return ownBytes(name, 'float32', shape, buffer);
}

/** The same values, row-major, and independent of the view's file: as stored, or float32 where the view is strided. */
export function ownTensor(view: TensorView): OwnedTensor {
  if (!isRowMajor(view)) return ownFloats(view.name, view.shape, readFloats(view));
  const byteLength = elementCount(view.shape) * DTYPE_BYTES[view.dtype];
  const buffer = byteLength === 0 ? new ArrayBuffer(0) : viewMemory(view.address, byteLength).slice(0);
  return ownBytes(view.name, view.dtype, view.shape, buffer);
}

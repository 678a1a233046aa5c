/** Parts of tensors in place: neither a copy nor an owner. Knows no device. */

import { DTYPE_BYTES, type TensorView } from './tensor-view.ts';

/** Neighbouring indices. */
export interface Span {
  readonly start: number;
  readonly length: number;
}

/** What lies within the span along one dimension. A view that holds its bytes goes on holding them. */
export function sliceTensor<T extends TensorView>(view: T, dimension: number, { start, length }: Span): T {
  const { shape, strides, address, dtype } = view;
  const offset = start * strides[dimension]! * DTYPE_BYTES[dtype];
  return { ...view, shape: shape.with(dimension, length), address: address + BigInt(offset) };
}

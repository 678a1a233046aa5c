/** Adapters' values, read only where all of them are finite numbers. */

import { LoraxError } from '../base/errors.ts';
import type { TensorView } from '../weights/tensor-view.ts';
import { isFiniteTensor, readFloats } from '../weights/values.ts';

/** The tensor's values in row-major order. Throws FILE_INVALID naming it. */
export function finiteFloats(view: TensorView): Float32Array {
  requireFinite(view);
  return readFloats(view);
}

/** A single NaN would spread over every row of a batched product, and fail every request of the adapter. */
export function requireFinite(view: TensorView): void {
  if (!isFiniteTensor(view)) throw notFinite(view.name);
}

export function notFinite(file: string): LoraxError {
  return new LoraxError('FILE_INVALID', { file, reason: 'holds values that are not finite numbers' });
}

/** A value whose operation can add another one to it on its way out, and prepare the sum for the product after a norm of it. */

import type { Pointer } from '../../native/ffi.ts';
import type { Operand } from './rounding.ts';
import type { Slab } from './slab.ts';
import type { CudaValue } from './values.ts';

export interface Summand {
  /** Whether it can add these: values that were complete before it, and that nobody has named since. */
  takes(residual: CudaValue): boolean;
  /** `residual + value` goes to `y`, where somebody needs it. */
  add(residual: CudaValue, y: Slab): void;
  /**
   * That sum times `weights` `[width]`, in bfloat16, with what makes the factors of its norm, `1 / sqrt(mean of squares + epsilon)`,
   * which the product that takes it brings. Undefined where it cannot.
   */
  scale(weights: Pointer, epsilon: number): Operand | undefined;
}

/**
 * A norm that needs no kernel: what makes the sum before it writes that times the norm's weights, and the product after it brings the
 * factor of each row. Knows nothing about who asks.
 */

import type { Pointer } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { Operand } from './rounding.ts';
import type { Summand } from './summand.ts';

export class DeferredNorm {
  readonly #summand: Summand;
  readonly #weights: Pointer;
  readonly #epsilon: number;
  #operand: Operand | undefined;

  /** Of the sum that the summand makes. */
  constructor(summand: Summand, weights: Pointer, epsilon: number) {
    this.#summand = summand;
    this.#weights = weights;
    this.#epsilon = epsilon;
  }

  /**
   * For a product that streams. Undefined where it takes the norm itself: at high precision, and in float16, for which numbers that are
   * not divided yet may be too large.
   */
  request(dtype: Dtype, precision: MatmulPrecision): Operand | undefined {
    if (precision !== 'medium' || dtype !== 'bfloat16') return undefined;
    return (this.#operand ??= this.#summand.scale(this.#weights, this.#epsilon));
  }
}

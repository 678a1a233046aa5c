/**
 * A sum of a residual and a value that the value's own operation makes on its way out, each part of it as far as it is asked for. Knows
 * nothing about what makes the value.
 */

import { assert } from '../../base/assert.ts';
import { NULL, type Pointer } from '../../native/ffi.ts';
import type { Program } from './program.ts';
import { claimOperand, type Operand } from './rounding.ts';
import type { Slab } from './slab.ts';
import { elementsOf, FLOAT_BYTES, isDense, type CudaValue } from './values.ts';

/** How the sum is prepared for the product after a norm of it. */
interface Scaling {
  readonly weights: Pointer;
  readonly operand: Operand;
  readonly squares: Slab;
}

/** Addresses for the kernel; null where nothing is wanted. */
export interface SumPlaces {
  readonly residual: Pointer;
  readonly y: Pointer;
  readonly weights: Pointer;
  readonly scaled: Pointer;
  readonly squares: Pointer;
}

/** Whether the operation can add these: they were complete before it, and nobody has named them since. */
export function canAdd(residual: CudaValue, operation: number): boolean {
  return isDense(residual) && residual.slab.last < operation;
}

export class ResidualSum {
  readonly #program: Program;
  readonly #operation: number;
  readonly #residual: CudaValue;
  readonly #y: Slab;
  #scaling: Scaling | undefined;

  /** `y` is `[rows, width]` float32 as the residual is, where somebody needs it. */
  constructor(program: Program, operation: number, residual: CudaValue, y: Slab) {
    assert(canAdd(residual, operation), 'what is added was there before');
    this.#program = program;
    this.#operation = operation;
    this.#residual = residual;
    this.#y = y;
    program.extend(residual.slab, operation);
    program.extend(y, operation, true);
  }

  /** The sum times `weights`, in bfloat16, with its squares summed over so many parts of each row. */
  scale(weights: Pointer, epsilon: number, parts: number): Operand {
    const squares = this.#program.claim(this.#residual.rows * parts * FLOAT_BYTES);
    const rounded = claimOperand(this.#program, elementsOf(this.#residual), 'bfloat16', 'medium');
    const operand = { ...rounded, factors: { squares, parts, epsilon } };
    for (const slab of [squares, operand.slab]) this.#program.extend(slab, this.#operation);
    this.#scaling = { weights, operand, squares };
    return operand;
  }

  /** Once the program runs. */
  get places(): SumPlaces {
    const { weights = NULL, operand, squares } = this.#scaling ?? {};
    return {
      residual: this.#residual.slab.address,
      y: this.#y.isNeeded ? this.#y.address : NULL,
      weights,
      scaled: operand?.slab.address ?? NULL,
      squares: squares?.address ?? NULL,
    };
  }
}

/**
 * A sum over all cards, and what its kernel makes of it on the way, once somebody asks: with a residual added, and ready for the product
 * after the norm of both. Knows nothing about what it is for.
 */

import { assert } from '../../../base/assert.ts';
import { NULL, type Pointer } from '../../../native/ffi.ts';
import type { Program } from '../program.ts';
import { claimOperand, type Operand } from '../rounding.ts';
import type { Slab } from '../slab.ts';
import type { Summand } from '../summand.ts';
import { elementsOf, FLOAT_BYTES, isDense, type CudaValue } from '../values.ts';
import { FINISHED_TOGETHER, type SumFinish } from './collectives.ts';

/** Those that go through the cards' memory, whatever their width. */
const MOST_ROWS = 64;

/** Kernels read sums of squares two by two. */
const WIDTH_STEP = 2 * FINISHED_TOGETHER;

interface Finished {
  readonly residual: CudaValue;
  readonly y: Slab;
  scaled?: { readonly operand: Operand; readonly weights: Pointer; readonly squares: Slab };
}

export class CardSum implements Summand {
  readonly #program: Program;
  readonly #value: CudaValue;
  readonly #operation: number;
  #finished: Finished | undefined;

  /** `value` is replaced by its sum over the cards. */
  constructor(program: Program, value: CudaValue) {
    this.#program = program;
    this.#value = value;
    const { slab, offset } = value;
    this.#operation = program.meet([slab], () => {
      const address = slab.address + BigInt(offset);
      return { kind: 'sum', address, count: elementsOf(value), finish: this.#finish() };
    });
  }

  takes(residual: CudaValue): boolean {
    const { rows, width } = this.#value;
    return rows <= MOST_ROWS && width % WIDTH_STEP === 0 && isDense(residual) && residual.slab.last < this.#operation;
  }

  add(residual: CudaValue, y: Slab): void {
    assert(this.takes(residual), 'what is added was there before the sum');
    this.#program.extend(residual.slab, this.#operation);
    this.#program.extend(y, this.#operation, true);
    this.#finished = { residual, y };
  }

  scale(weights: Pointer, epsilon: number): Operand | undefined {
    if (this.#finished === undefined) return undefined;
    const { rows, width } = this.#value;
    const parts = width / FINISHED_TOGETHER;
    const squares = this.#program.claim(rows * parts * FLOAT_BYTES);
    const rounded = claimOperand(this.#program, elementsOf(this.#value), 'bfloat16', 'medium');
    const operand = { ...rounded, factors: { squares, parts, epsilon } };
    for (const slab of [squares, operand.slab]) this.#program.extend(slab, this.#operation);
    this.#finished.scaled = { operand, weights, squares };
    return operand;
  }

  #finish(): SumFinish | undefined {
    if (this.#finished === undefined) return undefined;
    const { residual, y, scaled } = this.#finished;
    return {
      width: this.#value.width,
      residual: residual.slab.address,
      y: y.isNeeded ? y.address : NULL,
      weights: scaled?.weights ?? NULL,
      scaled: scaled?.operand.slab.address ?? NULL,
      squares: scaled?.squares.address ?? NULL,
    };
  }
}

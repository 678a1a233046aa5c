/**
 * A sum over all cards, and what its kernel makes of it on the way, once somebody asks: with a residual added, and ready for the product
 * after the norm of both. Knows nothing about what it is for.
 */

import type { Pointer } from '../../../native/ffi.ts';
import type { Program } from '../program.ts';
import { canAdd, ResidualSum } from '../residual-sum.ts';
import type { Operand } from '../rounding.ts';
import type { Slab } from '../slab.ts';
import type { Summand } from '../summand.ts';
import { elementsOf, type CudaValue } from '../values.ts';
import { FINISHED_TOGETHER } from './collectives.ts';

/** Those that go through the cards' memory, whatever their width. */
const MOST_ROWS = 64;

/** Kernels read sums of squares two by two. */
const WIDTH_STEP = 2 * FINISHED_TOGETHER;

export class CardSum implements Summand {
  readonly #program: Program;
  readonly #value: CudaValue;
  readonly #operation: number;
  #sum: ResidualSum | undefined;

  /** `value` is replaced by its sum over the cards. */
  constructor(program: Program, value: CudaValue) {
    this.#program = program;
    this.#value = value;
    const { slab, offset, width } = value;
    this.#operation = program.meet([slab], () => {
      const address = slab.address + BigInt(offset);
      const finish = this.#sum && { width, ...this.#sum.places };
      return { kind: 'sum', address, count: elementsOf(value), finish };
    });
  }

  takes(residual: CudaValue): boolean {
    const { rows, width } = this.#value;
    return rows <= MOST_ROWS && width % WIDTH_STEP === 0 && canAdd(residual, this.#operation);
  }

  add(residual: CudaValue, y: Slab): void {
    this.#sum = new ResidualSum(this.#program, this.#operation, residual, y);
  }

  scale(weights: Pointer, epsilon: number): Operand | undefined {
    return this.#sum?.scale(weights, epsilon, this.#value.width / FINISHED_TOGETHER);
  }
}

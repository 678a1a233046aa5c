/**
 * The 16-bit form of a value that matrix products want, written by the operation that makes the value, once somebody asks
 * for it. Knows nothing about products.
 */

import { NULL, type Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES, type Dtype } from '../../weights/tensor-view.ts';
import type { MatmulPrecision } from '../precision.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import type { LateArgument, Program } from './program.ts';
import type { Slab } from './slab.ts';

/** Activations ready to be multiplied: `[rows, width]`, or the upper and the lower halves `[2 * rows, width]`. */
export interface Operand {
  readonly slab: Slab;
  readonly offset: number;
  readonly dtype: Dtype;
  readonly isSplit: boolean;
  /** By which products multiply their outputs: the norm's, where it was left to them. */
  readonly factors?: RowFactors;
}

/** Of each row `1 / sqrt(mean of squares + epsilon)`, as sums of squares over so many parts of it, `[rows, parts]` float32. */
interface RowFactors {
  readonly squares: Slab;
  readonly parts: number;
  readonly epsilon: number;
}

/** Memory for so many activations in the type of the matrices beside which they are multiplied. */
export function claimOperand(program: Program, count: number, dtype: Dtype, precision: MatmulPrecision): Operand {
  const isSplit = precision === 'high';
  return { slab: program.claim(count * DTYPE_BYTES[dtype] * (isSplit ? 2 : 1)), offset: 0, dtype, isSplit };
}

export class Rounding {
  readonly #program: Program;
  readonly #count: number;
  readonly #only: Dtype | undefined;
  #operation: number | undefined;
  #operand: Operand | undefined;

  /** Of a value of so many elements; `only` in one type, where that is all that the operation can. */
  constructor(program: Program, count: number, only?: Dtype) {
    this.#program = program;
    this.#count = count;
    this.#only = only;
  }

  /** What the kernel takes for it: where to, the type, and whether in halves. */
  get arguments(): LateArgument[] {
    return [
      () => this.address,
      () => ELEMENT_TYPE[this.#operand?.dtype ?? 'float32'],
      () => Number(this.#operand?.isSplit ?? false),
    ];
  }

  /** The operation that writes it. */
  writtenBy(operation: number): void {
    this.#operation = operation;
  }

  /** Undefined where it is written in another type, or would have to be. */
  request(dtype: Dtype, precision: MatmulPrecision): Operand | undefined {
    if (this.#operation === undefined || dtype !== (this.#only ?? dtype)) return undefined;
    if (this.#operand === undefined) {
      this.#operand = claimOperand(this.#program, this.#count, dtype, precision);
      this.#program.extend(this.#operand.slab, this.#operation);
    }
    return this.#operand.dtype === dtype ? this.#operand : undefined;
  }

  get isAsked(): boolean {
    return this.#operand !== undefined;
  }

  /** Null where nobody asked for it. */
  get address(): Pointer {
    return this.#operand?.slab.address ?? NULL;
  }
}

/** A value of a step or draft on a device. */

import { assert } from '../../base/assert.ts';
import type { Value } from '../backend.ts';
import type { DeferredNorm } from './deferred-norm.ts';
import type { Program } from './program.ts';
import type { Rounding } from './rounding.ts';
import type { RowSet } from './row-set.ts';
import type { Slab } from './slab.ts';
import type { StreamedProduct } from './streamed-product.ts';
import type { Summand } from './summand.ts';

export const FLOAT_BYTES = 4;

export interface CudaValue extends Value {
  /** Where it lies, float32. */
  readonly slab: Slab;
  /** In bytes from the slab's beginning. */
  readonly offset: number;
  /** Elements from one row to the next: more than the width where it is a part of a wider product. */
  readonly stride: number;
  readonly rowSet: RowSet;
  /** The operation that makes it can also write it in 16 bits. */
  readonly rounding?: Rounding;
  /** It is a norm that the products around it can do. */
  readonly norm?: DeferredNorm | undefined;
  /** What it came from, all of it or a part. */
  readonly product?: StreamedProduct | undefined;
  /** Of a sum over all cards: what makes it. */
  readonly sum?: Summand | undefined;
}

export function newValue(program: Pick<Program, 'claim'>, width: number, rowSet: RowSet): CudaValue {
  const rows = rowSet.rows.length;
  return { rows, width, slab: program.claim(rows * width * FLOAT_BYTES), offset: 0, stride: width, rowSet };
}

/** Of these widths, one beside the other. */
export function partsOf(y: CudaValue, widths: readonly number[]): CudaValue[] {
  let start = 0;
  return widths.map((width) => {
    const part: CudaValue = { ...y, width, offset: start * FLOAT_BYTES };
    start += width;
    return part;
  });
}

export function elementsOf({ rows, width }: Value): number {
  return rows * width;
}

/** Whether its rows lie one after the other, with nothing before them. */
export function isDense({ stride, width, offset }: CudaValue): boolean {
  return stride === width && offset === 0;
}

/** For operations that look at a value as a list of numbers. */
export function requireDense(value: CudaValue): CudaValue {
  assert(value.stride === value.width || value.rows === 1, 'the rows of a value lie one after the other');
  return value;
}

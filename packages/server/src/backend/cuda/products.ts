/**
 * Products with the base model's matrices. Beside a 16-bit matrix, activations are rounded to its type at precision
 * `medium`; at `high` each is the sum of two such numbers, multiplied side by side in one product, so that the matrix is
 * read once and results stay nearly float32's.
 */

import type { Projection } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import { DTYPE_BYTES, type Dtype } from '../../weights/tensor-view.ts';
import type { Cublas } from './cublas.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import type { Program, Slab } from './program.ts';
import { elementsOf, FLOAT_BYTES, newValue, type CudaValue } from './values.ts';
import type { CudaWeight } from './weights.ts';

/** Activations ready to be multiplied: `[rows, width]`, or the upper and the lower halves `[2 * rows, width]`. */
export interface Operand {
  readonly slab: Slab;
  readonly offset: number;
  readonly dtype: Dtype;
  readonly isSplit: boolean;
}

/** Prepares `x` for products with matrices of a type; one operand serves several projections. */
export function makeOperand(program: Program, x: CudaValue, dtype: Dtype, precision: MatmulPrecision): Operand {
  if (dtype === 'float32') return { slab: x.slab, offset: x.offset, dtype, isSplit: false };
  const isSplit = precision === 'high';
  const count = elementsOf(x);
  const slab = program.claim(count * DTYPE_BYTES[dtype] * (isSplit ? 2 : 1));
  const kernel = isSplit ? 'split_activations' : 'round_activations';
  program.launchOver(count, kernel, slab, x, ELEMENT_TYPE[dtype]);
  return { slab, offset: 0, dtype, isSplit };
}

/** `x W^T`, without bias. */
export function multiply(
  program: Program,
  cublas: Cublas,
  x: CudaValue,
  operand: Operand,
  { weight, inFeatures, outFeatures }: Projection,
): CudaValue {
  const y = newValue(program, outFeatures, x.rowSet);
  const { address } = weight as CudaWeight;
  const { slab, offset, dtype, isSplit } = operand;
  const rows = isSplit ? 2 * x.rows : x.rows;
  const product = isSplit ? program.claim(rows * outFeatures * FLOAT_BYTES) : y.slab;
  program.add([slab, product], () =>
    cublas.multiply({
      ...{ dtype, weight: address, x: slab.address + BigInt(offset), y: product.address },
      ...{ rows, inFeatures, outFeatures },
    }),
  );
  if (isSplit) program.launchOver(elementsOf(y), 'join_halves', y, product);
  return y;
}

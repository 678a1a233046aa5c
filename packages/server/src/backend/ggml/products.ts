/**
 * Products with the base model's matrices. ggml rounds the activations to the matrix's type; at precision `high` each
 * activation is instead the sum of two such numbers, multiplied side by side in one product (16 bits of mantissa for
 * bfloat16), so that results stay equal to float32's and do not depend on what else is in the step.
 */

import type { Pointer } from '../../native/ffi.ts';
import { GGML_TYPE } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import type { GgmlWeight } from './weights.ts';

const FLOAT_BYTES = 4;

/** Activations ready to be multiplied: `[width, rows]`, or the upper and the lower halves `[width, 2 * rows]`. */
export interface Operand {
  readonly tensor: Pointer;
  readonly rowCount: number;
  readonly isSplit: boolean;
}

/** Prepares `x` for products with weights of `weight`'s type; one operand serves several projections. */
export function makeOperand(graph: GraphContext, x: Pointer, rowCount: number, weight: GgmlWeight): Operand {
  if (graph.precision === 'medium' || weight.dtype === 'float32') return { tensor: x, rowCount, isSplit: false };
  const { ggml } = graph;
  const context = graph.claim(4);
  const upper = ggml.cast(context, ggml.cast(context, x, GGML_TYPE[weight.dtype]), GGML_TYPE.float32);
  const tensor = ggml.concat(context, upper, ggml.sub(context, x, upper), 1);
  return { tensor, rowCount, isSplit: true };
}

/** `[out, rows]`. */
export function multiply(graph: GraphContext, weight: GgmlWeight, operand: Operand, outFeatures: number): Pointer {
  const { ggml } = graph;
  const { tensor, rowCount, isSplit } = operand;
  const context = graph.claim(4);
  const product = ggml.mulMat(context, weight.tensor, tensor);
  if (!isSplit) return product;
  const rowBytes = outFeatures * FLOAT_BYTES;
  const upper = ggml.view2d(context, product, outFeatures, rowCount, rowBytes, 0);
  const lower = ggml.view2d(context, product, outFeatures, rowCount, rowBytes, rowCount * rowBytes);
  return ggml.add(context, upper, lower);
}

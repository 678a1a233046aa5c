/** The operations in ggml that look at each row by itself; steps and drafts share them. Knows no layout and no model. */

import type { Projection, Value } from '../backend.ts';
import type { Pointer } from '../../native/ffi.ts';
import { applyAdapters } from './adapter-products.ts';
import type { GraphContext } from './graph-context.ts';
import { makeOperand, multiply, type Operand } from './products.ts';
import type { RowSet } from './row-set.ts';
import type { GgmlWeight } from './weights.ts';

export interface GgmlValue extends Value {
  /** `[width, rows]` in ggml's order. */
  readonly tensor: Pointer;
  readonly rowSet: RowSet;
}

export function makeValue(tensor: Pointer, width: number, rowSet: RowSet): GgmlValue {
  return { tensor, width, rows: rowSet.rowCount, rowSet };
}

export function projectRows(context: GraphContext, x: Value, projections: readonly Projection[]): Value[] {
  const { tensor, rowSet } = x as GgmlValue;
  const weight = projections[0]!.weight as GgmlWeight;
  const operand = makeOperand(context, tensor, rowSet.rowCount, weight);
  return projections.map((projection) => project(context, x as GgmlValue, operand, projection));
}

export function addRows(context: GraphContext, a: Value, b: Value): Value {
  const { tensor, width, rowSet } = a as GgmlValue;
  return makeValue(context.ggml.add(context.claim(1), tensor, (b as GgmlValue).tensor), width, rowSet);
}

function project(context: GraphContext, x: GgmlValue, operand: Operand, projection: Projection): Value {
  let y = multiply(context, projection.weight as GgmlWeight, operand, projection.outFeatures);
  context.expand(y);
  applyAdapters(context, y, x.tensor, projection, x.rowSet);
  if (projection.bias) y = context.ggml.add(context.claim(1), y, (projection.bias as GgmlWeight).tensor);
  return makeValue(y, projection.outFeatures, x.rowSet);
}

/** The operations that look at each row by itself; steps and drafts share them. Knows no layout and no model. */

import type { Projection, Value } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { AdapterProducts } from './adapter-products.ts';
import type { Cublas } from './cublas.ts';
import { makeOperand, multiply, type Operand } from './products.ts';
import type { Program } from './program.ts';
import { elementsOf, newValue, type CudaValue } from './values.ts';
import type { CudaWeight } from './weights.ts';

export interface RowDevice {
  readonly program: Program;
  readonly cublas: Cublas;
  readonly adapters: AdapterProducts;
  readonly precision: MatmulPrecision;
}

export function projectRows(device: RowDevice, value: Value, projections: readonly Projection[]): Value[] {
  const x = value as CudaValue;
  const operands = new Map<Dtype, Operand>();
  return projections.map((projection) => {
    const { dtype } = projection.weight as CudaWeight;
    const operand = operands.get(dtype) ?? makeOperand(device.program, x, dtype, device.precision);
    operands.set(dtype, operand);
    return project(device, x, operand, projection);
  });
}

export function addRows({ program }: RowDevice, a: Value, b: Value): Value {
  const { width, rowSet } = a as CudaValue;
  const y = newValue(program, width, rowSet);
  program.launchOver(elementsOf(y), 'add_rows', y, a as CudaValue, b as CudaValue);
  return y;
}

function project(
  { program, cublas, adapters }: RowDevice,
  x: CudaValue,
  operand: Operand,
  projection: Projection,
): Value {
  const y = multiply(program, cublas, x, operand, projection);
  adapters.apply(x, y, projection);
  const bias = projection.bias as CudaWeight | undefined;
  if (bias) program.launchOver(elementsOf(y), 'add_bias', y, bias.address, y.width);
  return y;
}

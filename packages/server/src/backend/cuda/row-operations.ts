/** The operations that look at each row by itself; steps and drafts share them. Knows no layout and no model. */

import type { Projection, Value } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { AdapterProducts } from './adapter-products.ts';
import type { Cublas } from './cublas.ts';
import { areStreamed, groupProjections, makeOperand, multiply } from './products.ts';
import type { Program } from './program.ts';
import type { Operand } from './rounding.ts';
import { elementsOf, requireDense, type CudaValue } from './values.ts';
import type { CudaWeight } from './weights.ts';

export interface RowDevice {
  readonly program: Program;
  readonly cublas: Cublas;
  readonly adapters: AdapterProducts;
  readonly precision: MatmulPrecision;
}

export function projectRows(device: RowDevice, value: Value, projections: readonly Projection[]): Value[] {
  const { program, adapters, precision } = device;
  const x = value as CudaValue;
  const shrunk = adapters.shrink(x, projections);
  const operands = new Map<Dtype, Operand>();
  const groups = groupProjections(projections);
  const isStreamed = areStreamed(program, groups, x.rows);
  const products = groups.flatMap((group) => {
    const { dtype } = group[0]!.weight as CudaWeight;
    const operand = operands.get(dtype) ?? makeOperand(program, x, { dtype, precision, isStreamed });
    operands.set(dtype, operand);
    return multiply(device, x, operand, group, shrunk.sets.length > 0);
  });
  adapters.expand(shrunk, products);
  for (const [i, { bias }] of projections.entries()) if (bias) addBias(program, products[i]!, bias as CudaWeight);
  return products;
}

/** `y = a + b`. */
export function addRows(program: Program, a: CudaValue, b: CudaValue, y: CudaValue): void {
  program.launchOver(elementsOf(y), 'add_rows', y, requireDense(a), requireDense(b));
}

function addBias(program: Program, y: CudaValue, { address }: CudaWeight): void {
  program.launchOver(elementsOf(y), 'add_bias', y, y.stride, address, y.width);
}

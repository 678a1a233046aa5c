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
  const groups = groupProjections(projections);
  const isStreamed = areStreamed(program, groups, x.rows);
  const takesAddends = isStreamed && precision === 'medium' && adapters.onlyAdd(x.rowSet, projections);
  const products = takesAddends
    ? projectWithAddends(device, x, groups)
    : projectThenAdapt(device, x, groups, isStreamed);
  for (const [i, { bias }] of projections.entries()) if (bias) addBias(program, products[i]!, bias as CudaWeight);
  return products;
}

/** Products that add on their way out what adapters made before. */
function projectWithAddends(device: RowDevice, x: CudaValue, groups: readonly Projection[][]): CudaValue[] {
  const operandOf = operandsOf(device, x, true);
  const addends = device.adapters.addends(operandOf(groups[0]!), x.rowSet, groups);
  return groups.flatMap((group, i) =>
    multiply(device, x, operandOf(group), group, { isAdapted: false, addend: addends[i] }),
  );
}

/** Products, and then what adapters make of them. */
function projectThenAdapt(
  device: RowDevice,
  x: CudaValue,
  groups: readonly Projection[][],
  isStreamed: boolean,
): CudaValue[] {
  const shrunk = device.adapters.shrink(x, groups.flat());
  const operandOf = operandsOf(device, x, isStreamed);
  const isAdapted = shrunk.sets.length > 0;
  const products = groups.flatMap((group) => multiply(device, x, operandOf(group), group, { isAdapted }));
  device.adapters.expand(shrunk, products);
  return products;
}

/** One serves all groups of a type. */
function operandsOf(
  { program, precision }: RowDevice,
  x: CudaValue,
  isStreamed: boolean,
): (group: readonly Projection[]) => Operand {
  const operands = new Map<Dtype, Operand>();
  return ([projection]) => {
    const { dtype } = projection!.weight as CudaWeight;
    const operand = operands.get(dtype) ?? makeOperand(program, x, { dtype, precision, isStreamed });
    operands.set(dtype, operand);
    return operand;
  };
}

/** `y = a + b`. */
export function addRows(program: Program, a: CudaValue, b: CudaValue, y: CudaValue): void {
  program.launchOver(elementsOf(y), 'add_rows', y, requireDense(a), requireDense(b));
}

function addBias(program: Program, y: CudaValue, { address }: CudaWeight): void {
  program.launchOver(elementsOf(y), 'add_bias', y, y.stride, address, y.width);
}

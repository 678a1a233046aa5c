/**
 * Products with the base model's matrices. Beside a 16-bit matrix, activations are rounded to its type at precision
 * `medium`; at `high` each is the sum of two such numbers, multiplied side by side in one product, so that the matrix is
 * read once and results stay nearly float32's. Matrices that lie one after the other are multiplied as one.
 */

import { present } from '../../base/assert.ts';
import type { Projection } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { Cublas, Product } from './cublas.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import type { KernelName } from './kernels.ts';
import type { Program } from './program.ts';
import { claimOperand, type Operand } from './rounding.ts';
import { elementsOf, FLOAT_BYTES, newValue, type CudaValue } from './values.ts';
import type { CudaWeight } from './weights.ts';

/** Prepares `x` for products with matrices of a type; one operand serves several projections. */
export function makeOperand(program: Program, x: CudaValue, dtype: Dtype, precision: MatmulPrecision): Operand {
  if (dtype === 'float32') return { slab: x.slab, offset: x.offset, dtype, isSplit: false };
  const written = x.rounding?.request(dtype, precision);
  if (written !== undefined) return written;
  const operand = claimOperand(program, elementsOf(x), dtype, precision);
  const target = [operand.slab, ELEMENT_TYPE[dtype], Number(operand.isSplit)] as const;
  program.launchOver(elementsOf(x), 'round_activations', ...target, x, x.stride, x.width);
  return operand;
}

/** Neighbours whose matrices lie one after the other. */
export function groupProjections(projections: readonly Projection[]): Projection[][] {
  const groups: Projection[][] = [];
  for (const projection of projections) {
    const group = groups.at(-1);
    const last = group?.at(-1)?.weight as CudaWeight | undefined;
    if (group && last && isNext(last, projection.weight as CudaWeight)) group.push(projection);
    else groups.push([projection]);
  }
  return groups;
}

function isNext(before: CudaWeight, weight: CudaWeight): boolean {
  return weight.dtype === before.dtype && weight.address === before.address + BigInt(before.byteLength);
}

/** `x W^T` of each projection of a group, without bias: parts of one product. */
export function multiply(
  program: Program,
  cublas: Cublas,
  x: CudaValue,
  operand: Operand,
  group: readonly Projection[],
): CudaValue[] {
  const first = present(group[0], 'a projection');
  const { address: weight, dtype } = first.weight as CudaWeight;
  const { inFeatures } = first;
  const outFeatures = group.reduce((sum, projection) => sum + projection.outFeatures, 0);
  const y = newValue(program, outFeatures, x.rowSet);
  const matrix = { weight, dtype, inFeatures, outFeatures, xStride: dtype === 'float32' ? x.stride : x.width };
  const kernel = fewKernel(x, operand, inFeatures);
  if (kernel !== undefined) multiplyFew(program, kernel, operand, matrix, y);
  else multiplyMany(program, cublas, operand, matrix, y);
  return partsOf(y, group);
}

type Matrix = Pick<Product, 'weight' | 'dtype' | 'inFeatures' | 'outFeatures' | 'xStride'>;

/** As the kernel for few rows works: columns at most, outputs that a block computes at once, inputs that a thread loads at once. */
const FEW = { columns: 2, outputs: 4, inputs: 8, threads: 256, blocksPerMultiprocessor: 3 };

const FEW_KERNELS: Readonly<Record<Dtype, KernelName | undefined>> = {
  float32: undefined,
  float16: 'multiply_few_float16',
  bfloat16: 'multiply_few_bfloat16',
};

/** Undefined where there are too many rows for it. */
function fewKernel({ rows }: CudaValue, { dtype, isSplit }: Operand, inFeatures: number): KernelName | undefined {
  const columns = isSplit ? 2 * rows : rows;
  return columns <= FEW.columns && inFeatures % FEW.inputs === 0 ? FEW_KERNELS[dtype] : undefined;
}

function multiplyFew(
  program: Program,
  kernel: KernelName,
  operand: Operand,
  { weight, inFeatures, outFeatures }: Matrix,
  y: CudaValue,
): void {
  const most = program.device.properties.multiprocessorCount * FEW.blocksPerMultiprocessor;
  const blockCount = Math.min(most, Math.ceil(outFeatures / FEW.outputs));
  const columns = operand.isSplit ? 2 * y.rows : y.rows;
  program.launch(
    ...([kernel, { blocks: [blockCount], threads: FEW.threads }, y, weight, operand] as const),
    ...[columns, Number(operand.isSplit), inFeatures, outFeatures],
  );
}

function multiplyMany(program: Program, cublas: Cublas, operand: Operand, matrix: Matrix, y: CudaValue): void {
  const { slab, offset, isSplit } = operand;
  const rows = isSplit ? 2 * y.rows : y.rows;
  const product = isSplit ? program.claim(rows * y.width * FLOAT_BYTES) : y.slab;
  program.add([slab, product], () =>
    cublas.multiply({ ...matrix, x: slab.address + BigInt(offset), y: product.address, rows }),
  );
  if (isSplit) program.launchOver(elementsOf(y), 'join_halves', y, product);
}

function partsOf(y: CudaValue, group: readonly Projection[]): CudaValue[] {
  let start = 0;
  return group.map(({ outFeatures }) => {
    const part: CudaValue = { ...y, width: outFeatures, offset: start * FLOAT_BYTES };
    start += outFeatures;
    return part;
  });
}

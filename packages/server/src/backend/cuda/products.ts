/**
 * Products with the base model's matrices. Beside a 16-bit matrix, activations are rounded to its type at precision
 * `medium`; at `high` each is the sum of two such numbers, multiplied side by side in one product, so that the matrix is
 * read once and results stay nearly float32's. Matrices that lie one after the other are multiplied as one. Chooses between
 * kernels of our own and cuBLAS.
 */

import { present } from '../../base/assert.ts';
import type { Projection } from '../backend.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { Cublas, Product } from './cublas.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { fewKernel, multiplyFew } from './few-product.ts';
import { isHopper } from './architecture.ts';
import type { Program } from './program.ts';
import { claimOperand, type Operand } from './rounding.ts';
import type { Slab } from './slab.ts';
import { fitsStream } from './stream-plan.ts';
import { StreamedProduct, type Addend, type StreamedMatrix } from './streamed-product.ts';
import type { Summand } from './summand.ts';
import { elementsOf, FLOAT_BYTES, isDense, newValue, partsOf, type CudaValue } from './values.ts';
import type { CudaWeight } from './weights.ts';

interface ProductDevice {
  readonly program: Program;
  readonly cublas: Cublas;
}

/** What operands are made for. */
interface OperandUse {
  readonly dtype: Dtype;
  readonly precision: MatmulPrecision;
  /** By products that can bring a norm's factors. */
  readonly isStreamed: boolean;
}

/** Prepares `x` for products with matrices of a type; one operand serves several projections. */
export function makeOperand(program: Program, x: CudaValue, use: OperandUse): Operand {
  const { dtype, precision } = use;
  if (dtype === 'float32') return { slab: x.slab, offset: x.offset, dtype, isSplit: false };
  // Whose numbers others read is made anyway.
  const isDeferred = use.isStreamed && !x.slab.isNeeded;
  const written = (isDeferred ? x.norm?.request(dtype, precision) : undefined) ?? x.rounding?.request(dtype, precision);
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

/** How adapters take part in a product: they change it afterwards, or it adds what they made before. */
export interface Adaptation {
  readonly isAdapted: boolean;
  /** Only of products that stream. */
  readonly addend?: Addend | undefined;
}

/** `x W^T` of each projection of a group, without bias: parts of one product. */
export function multiply(
  { program, cublas }: ProductDevice,
  x: CudaValue,
  operand: Operand,
  group: readonly Projection[],
  { isAdapted, addend }: Adaptation,
): CudaValue[] {
  const matrix = { ...matrixOf(group), xStride: operand.dtype === 'float32' ? x.stride : x.width };
  const y = newValue(program, matrix.outFeatures, x.rowSet);
  const columns = operand.isSplit ? 2 * x.rows : x.rows;
  // Of outputs that are changed before anybody reads them, streaming makes nothing on their way.
  const gainsByStreaming = isStreamed(program, matrix, columns) && !isAdapted && !operand.isSplit;
  const few = gainsByStreaming ? undefined : fewKernel(matrix, columns);
  const widths = group.map(({ outFeatures }) => outFeatures);
  if (few === undefined) return partsOf(multiplyMany(program, cublas, { operand, matrix, columns, y, addend }), widths);
  multiplyFew(program, few, operand, matrix, y);
  return partsOf(y, widths);
}

/** Whether the matrices of all groups stream, beside so many rows of activations. */
export function areStreamed(program: Program, groups: readonly Projection[][], columns: number): boolean {
  return groups.every((group) => isStreamed(program, matrixOf(group), columns));
}

function isStreamed({ device }: Program, matrix: StackedMatrix, columns: number): matrix is StreamedMatrix {
  return isHopper(device.properties) && matrix.dtype !== 'float32' && fitsStream({ ...matrix, columns });
}

type StackedMatrix = Omit<Matrix, 'xStride'>;

function matrixOf(group: readonly Projection[]): StackedMatrix {
  const { weight, inFeatures } = present(group[0], 'a projection');
  const { address, dtype } = weight as CudaWeight;
  const outFeatures = group.reduce((sum, projection) => sum + projection.outFeatures, 0);
  return { weight: address, dtype, inFeatures, outFeatures };
}

type Matrix = Pick<Product, 'weight' | 'dtype' | 'inFeatures' | 'outFeatures' | 'xStride'>;

interface Factors {
  readonly operand: Operand;
  readonly matrix: Matrix;
  /** Rows of activations, of which the operand has two for one where it is in halves. */
  readonly columns: number;
  readonly y: CudaValue;
  readonly addend: Addend | undefined;
}

/** Halves are multiplied side by side and joined then. */
function multiplyMany(program: Program, cublas: Cublas, factors: Factors): CudaValue {
  const { operand, columns, y } = factors;
  if (!operand.isSplit) return { ...y, product: multiplyInto(y.slab, program, cublas, factors) };
  const halves = program.claim(columns * y.width * FLOAT_BYTES);
  multiplyInto(halves, program, cublas, factors);
  program.launchOver(elementsOf(y), 'join_halves', y, halves);
  return y;
}

function multiplyInto(target: Slab, program: Program, cublas: Cublas, factors: Factors): StreamedProduct | undefined {
  const { operand, matrix, columns, addend } = factors;
  if (isStreamed(program, matrix, columns)) {
    return new StreamedProduct(program, { operand, addend, columns }, matrix, target);
  }
  const { slab, offset } = operand;
  program.add([slab, target], () =>
    cublas.multiply({ ...matrix, x: slab.address + BigInt(offset), y: target.address, rows: columns }),
  );
  return undefined;
}

/** The product of which these are the halves, where it can gate the one by the other on its way out. */
export function gateable(gate: CudaValue, up: CudaValue): StreamedProduct | undefined {
  const { product, width, offset, stride } = gate;
  const areHalves = up.product === product && stride === 2 * width && up.offset - offset === width * FLOAT_BYTES;
  return areHalves && product?.isUntouched && product.canGate ? product : undefined;
}

/** What makes all of `value`, where it can add the other on its way out. */
export function summandOf(value: CudaValue, other: CudaValue): Summand | undefined {
  const summand = value.sum ?? value.product;
  return isDense(value) && summand?.takes(other) ? summand : undefined;
}

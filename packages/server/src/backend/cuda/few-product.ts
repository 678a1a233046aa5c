/** Products of one row or two with a 16-bit matrix, by a kernel that reads it from beginning to end. Knows nothing about what they are for. */

import type { Pointer } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import type { KernelName } from './kernel-files.ts';
import type { Program } from './program.ts';
import type { Operand } from './rounding.ts';
import type { CudaValue } from './values.ts';

/** As the kernel declares them: columns at most, outputs that a block computes at once, inputs that a thread loads at once. */
const MOST_COLUMNS = 2;
const BLOCK_OUTPUTS = 4;
const THREAD_INPUTS = 8;
const THREADS = 256;
const BLOCKS_PER_MULTIPROCESSOR = 3;

const KERNELS: Readonly<Record<Dtype, KernelName | undefined>> = {
  float32: undefined,
  float16: 'multiply_few_float16',
  bfloat16: 'multiply_few_bfloat16',
};

interface Matrix {
  readonly weight: Pointer;
  readonly dtype: Dtype;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** For so many rows of activations, two for one where they are in halves. Undefined where they are too many for it. */
export function fewKernel({ dtype, inFeatures }: Matrix, columns: number): KernelName | undefined {
  return columns <= MOST_COLUMNS && inFeatures % THREAD_INPUTS === 0 ? KERNELS[dtype] : undefined;
}

export function multiplyFew(
  program: Program,
  kernel: KernelName,
  operand: Operand,
  matrix: Matrix,
  y: CudaValue,
): void {
  const { weight, inFeatures, outFeatures } = matrix;
  const { isSplit } = operand;
  const most = program.device.properties.multiprocessorCount * BLOCKS_PER_MULTIPROCESSOR;
  const grid = { blocks: [Math.min(most, Math.ceil(outFeatures / BLOCK_OUTPUTS))] as const, threads: THREADS };
  const columns = isSplit ? 2 * y.rows : y.rows;
  program.launch(kernel, grid, y, weight, operand, columns, Number(isSplit), inFeatures, outFeatures);
}

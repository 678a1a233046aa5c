/**
 * The base model's tensors in ggml: used in place where they lie in a mapped file, converted in chunks otherwise.
 * Knows nothing about models.
 */

import { LoraxError } from '../../base/errors.ts';
import { copyBytes, touchPages, type Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES, elementCount, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import { isRowMajor } from '../../weights/values.ts';
import type { Weight } from '../backend.ts';
import { GGML_TYPE, type Ggml } from './functions.ts';
import { TensorContext } from './tensor-context.ts';

/** Where ggml wants a buffer to begin; a tensor inside it may lie anywhere. */
const BUFFER_ALIGNMENT = 32n;

/** Elements converted before other work gets a turn: a few milliseconds. */
const CHUNK_ELEMENTS = 1 << 22;

/** Bytes read from disk before other work gets a turn. */
const READ_BYTES = 16 << 20;

export interface GgmlWeight extends Weight {
  readonly tensor: Pointer;
  readonly dtype: Dtype;
  readonly byteLength: number;
  dispose(): void;
}

/** Uses the file's bytes where they are. The file must stay mapped for as long as the weight lives. */
export async function mapWeight(ggml: Ggml, view: TensorView): Promise<GgmlWeight> {
  const context = new TensorContext(ggml, 1);
  const tensor = makeTensor(context, view.shape, view.dtype);
  const byteLength = elementCount(view.shape) * DTYPE_BYTES[view.dtype];
  const start = (view.address / BUFFER_ALIGNMENT) * BUFFER_ALIGNMENT;
  const buffer = ggml.bufferFromPointer(start, Number(view.address - start) + byteLength);
  ggml.tensorAlloc(buffer, tensor, view.address);
  await readIn(view.address, byteLength);
  const dispose = (): void => {
    ggml.bufferFree(buffer);
    context.dispose();
  };
  return { name: view.name, shape: view.shape, tensor, dtype: view.dtype, byteLength, dispose };
}

/** Brings the bytes from disk now, with the progress shown, instead of during the first request. */
async function readIn(address: Pointer, byteLength: number): Promise<void> {
  for (let start = 0; start < byteLength; start += READ_BYTES) {
    touchPages(address + BigInt(start), Math.min(READ_BYTES, byteLength - start));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Copies the tensor into memory of its own, as `dtype`. */
export async function copyWeight(ggml: Ggml, bufferType: Pointer, view: TensorView, dtype: Dtype): Promise<GgmlWeight> {
  if (!isRowMajor(view)) throw new LoraxError('FILE_INVALID', { file: view.name, reason: 'is not stored row by row' });
  const weight = emptyWeight(ggml, bufferType, view, dtype);
  await convert(ggml, view, dtype, ggml.getData(weight.tensor));
  return weight;
}

/** Memory of its own for a tensor, with whatever it holds. */
export function emptyWeight(
  ggml: Ggml,
  bufferType: Pointer,
  { name, shape }: Pick<TensorView, 'name' | 'shape'>,
  dtype: Dtype,
): GgmlWeight {
  const context = new TensorContext(ggml, 1);
  const tensor = makeTensor(context, shape, dtype);
  const byteLength = context.allocate(bufferType);
  return { name, shape, tensor, dtype, byteLength, dispose: () => context.dispose() };
}

/** Whether `mapWeight` can take it: matrices in the wanted type, whole and aligned. Vectors are converted to float32. */
export function isMappable(view: TensorView, dtype: Dtype): boolean {
  return view.dtype === dtype && isRowMajor(view) && view.address % BigInt(DTYPE_BYTES[dtype]) === 0n;
}

function makeTensor(context: TensorContext, shape: readonly number[], dtype: Dtype): Pointer {
  const [outer, inner] = shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!];
  return context.matrix(GGML_TYPE[dtype], inner, outer);
}

async function convert(ggml: Ggml, view: TensorView, dtype: Dtype, target: Pointer): Promise<void> {
  const count = elementCount(view.shape);
  const scratch = new Float32Array(view.dtype === dtype ? 0 : Math.min(count, CHUNK_ELEMENTS));
  for (let start = 0; start < count; start += CHUNK_ELEMENTS) {
    const length = Math.min(CHUNK_ELEMENTS, count - start);
    const from = view.address + BigInt(start * DTYPE_BYTES[view.dtype]);
    const to = target + BigInt(start * DTYPE_BYTES[dtype]);
    convertChunk(ggml, view.dtype, from, dtype, to, length, scratch);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Through float32, which holds the other two exactly. */
function convertChunk(
  ggml: Ggml,
  fromDtype: Dtype,
  from: Pointer,
  toDtype: Dtype,
  to: Pointer,
  length: number,
  scratch: Float32Array,
): void {
  const toFloats = { float16: ggml.float16ToFloat32, bfloat16: ggml.bfloat16ToFloat32 };
  const fromFloats = { float16: ggml.float32ToFloat16, bfloat16: ggml.float32ToBfloat16 };
  if (fromDtype === toDtype) copyBytes(to, from, length * DTYPE_BYTES[toDtype]);
  else if (fromDtype === 'float32') fromFloats[toDtype as 'float16' | 'bfloat16'](from, to, length);
  else if (toDtype === 'float32') toFloats[fromDtype](from, to, length);
  else {
    toFloats[fromDtype](from, scratch, length);
    fromFloats[toDtype](scratch, to, length);
  }
}

/**
 * Reads tensors into JavaScript: for small ones that our own code computes with, for checks and for tests. Weights on
 * their way to a backend never pass here.
 */
import { viewBytes } from '../native/mapped-file.ts';
import { DTYPE_BYTES, elementCount, rowMajorStrides, type Dtype, type TensorView } from './tensor-view.ts';

/** Elements looked at in one view: a few megabytes, far below what one view may hold. */
const CHUNK_LEN = 2 ** 20;

type ElementBits = Uint32Array | Uint16Array;

/** The elements as float32, row-major whatever the view's strides. */
export function readFloats(view: TensorView): Float32Array {
  const values = new Float32Array(elementCount(view.shape));
  if (isRowMajor(view)) {
    for (const { start, bits } of chunks(view)) widen(view.dtype, bits, values.subarray(start, start + bits.length));
  } else if (values.length > 0) {
    widen(view.dtype, gather(view), values);
  }
  return values;
}

/** Whether no element is infinite or NaN. */
export function isFiniteTensor(view: TensorView): boolean {
  const exponent = EXPONENT_BITS[view.dtype];
  if (!isRowMajor(view)) return elementCount(view.shape) === 0 || allFinite(gather(view), exponent);
  for (const { bits } of chunks(view)) if (!allFinite(bits, exponent)) return false;
  return true;
}

/** All ones in these bits mean infinity or NaN. */
const EXPONENT_BITS: Readonly<Record<Dtype, number>> = { float32: 0x7f800000, float16: 0x7c00, bfloat16: 0x7f80 };

function allFinite(bits: ElementBits, exponent: number): boolean {
  return bits.every((element) => (element & exponent) !== exponent);
}

/** Strides of dimensions of length 1 are never used, so they may be anything. */
export function isRowMajor({ shape, strides }: TensorView): boolean {
  const expected = rowMajorStrides(shape);
  return elementCount(shape) === 0 || shape.every((length, i) => length === 1 || strides[i] === expected[i]);
}

function* chunks(view: TensorView): Generator<{ start: number; bits: ElementBits }> {
  const count = elementCount(view.shape);
  const elementBytes = BigInt(DTYPE_BYTES[view.dtype]);
  for (let start = 0; start < count; start += CHUNK_LEN) {
    const address = view.address + BigInt(start) * elementBytes;
    yield { start, bits: elementBits(view.dtype, address, Math.min(CHUNK_LEN, count - start)) };
  }
}

/** Elements as unsigned integers of their size, in the order of memory. */
function elementBits(dtype: Dtype, address: bigint, count: number): ElementBits {
  const bytes = viewBytes(address, count * DTYPE_BYTES[dtype]);
  // Neither file format aligns tensors; a typed array must be.
  const { buffer } = address % BigInt(DTYPE_BYTES[dtype]) === 0n ? bytes : bytes.slice();
  return dtype === 'float32' ? new Uint32Array(buffer) : new Uint16Array(buffer);
}

/** Elements of a strided view in row-major order. */
function gather({ dtype, shape, strides, address }: TensorView): ElementBits {
  const span = 1 + shape.reduce((last, length, i) => last + (length - 1) * (strides[i] ?? 0), 0);
  const source = elementBits(dtype, address, span);
  const count = elementCount(shape);
  const gathered = dtype === 'float32' ? new Uint32Array(count) : new Uint16Array(count);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < count; to++) {
    gathered[to] = source[from]!;
    from += step(index, shape, strides);
  }
  return gathered;
}

/** Moves a row-major index to the next element; the distance in elements of memory. */
function step(index: number[], shape: readonly number[], strides: readonly number[]): number {
  let distance = 0;
  for (let dim = shape.length - 1; dim >= 0; dim--) {
    distance += strides[dim]!;
    if (++index[dim]! < shape[dim]!) return distance;
    index[dim] = 0;
    distance -= strides[dim]! * shape[dim]!;
  }
  return distance;
}

function widen(dtype: Dtype, bits: ElementBits, values: Float32Array): void {
  // Through integers: a float register may turn a signalling NaN into another one.
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === 'float32') wide.set(bits);
  else if (dtype === 'bfloat16') for (let i = 0; i < wide.length; i++) wide[i] = bits[i]! << 16;
  else for (let i = 0; i < values.length; i++) values[i] = float16Value(bits[i]!);
}

/** IEEE 754 binary16: 1 sign bit, 5 exponent bits with bias 15, 10 fraction bits. */
function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../base/handles.ts';
import { MappedFile } from '../native/mapped-file.ts';
import { DTYPE_BYTES, elementCount, rowMajorStrides, type Dtype } from './tensor-view.ts';
import { isFiniteTensor, isRowMajor, readFloats } from './values.ts';

/** Longer than the chunk in which contiguous tensors are read. */
const LONG_LEN = 2 ** 20 + 3;

const folder = mkdtempSync(join(tmpdir(), 'lorax-values-'));
let file: MappedFile;

before(() => {
  const path = join(folder, 'values');
  writeFileSync(
    path,
    Uint16Array.from({ length: 2 * LONG_LEN }, (_, i) => (i * 40_503) >> 3),
  );
  file = MappedFile.open(path);
});

after(() => {
  file.dispose();
  rmSync(folder, { recursive: true });
  assert.deepEqual(liveHandles(), {});
});

function view(dtype: Dtype, shape: readonly number[], options: { strides?: number[]; byteOffset?: number } = {}) {
  const { strides = rowMajorStrides(shape), byteOffset = 0 } = options;
  return { name: 'x', dtype, shape, strides, address: file.address + BigInt(byteOffset) };
}

/** Each element by itself, through DataView and, for float16, the definition of the format. */
function expectedValue(dtype: Dtype, byteOffset: number): number {
  const bytes = file.bytes(byteOffset, DTYPE_BYTES[dtype]);
  const data = new DataView(bytes.buffer);
  if (dtype === 'float32') return data.getFloat32(0, true);
  const bits = data.getUint16(0, true);
  if (dtype === 'bfloat16') return new Float32Array(Uint32Array.of(bits * 65_536).buffer)[0]!;
  return Number(`${bits >> 15 ? '-' : ''}1`) * half(bits & 0x7fff);
}

function half(bits: number): number {
  const exponent = bits >> 10;
  if (exponent === 31) return bits === 0x7c00 ? Infinity : Number.NaN;
  return exponent === 0 ? (bits / 1024) * 2 ** -14 : (1024 + (bits & 1023)) * 2 ** (exponent - 25);
}

const dtypes = fc.constantFrom<Dtype>('float32', 'float16', 'bfloat16');
const views = fc
  .tuple(dtypes, fc.array(fc.tuple(fc.nat(4), fc.nat(9)), { maxLength: 4 }), fc.nat(64))
  .map(([dtype, dims, byteOffset]) =>
    view(
      dtype,
      dims.map(([length]) => length),
      { strides: dims.map(([, stride]) => stride), byteOffset },
    ),
  );

/** Offsets in elements, in row-major order. */
function elementOffsets(shape: readonly number[], strides: readonly number[]): number[] {
  const [length, ...rest] = shape;
  if (length === undefined) return [0];
  const inner = elementOffsets(rest, strides.slice(1));
  return Array.from({ length }, (_, i) => inner.map((offset) => i * strides[0]! + offset)).flat();
}

test('strided and unaligned views are read in row-major order', () => {
  fc.assert(
    fc.property(views, (x) => {
      const start = Number(x.address - file.address);
      const offsets = elementOffsets(x.shape, x.strides);
      const expected = offsets.map((offset) => expectedValue(x.dtype, start + offset * DTYPE_BYTES[x.dtype]));
      assert.deepEqual([...readFloats(x)], expected);
      assert.equal(isFiniteTensor(x), expected.every(Number.isFinite));
    }),
  );
});

test('contiguous tensors longer than a chunk are read whole', () => {
  for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
    const values = readFloats(view(dtype, [LONG_LEN]));
    assert.equal(values.length, LONG_LEN);
    for (const at of [0, 1, 2 ** 20 - 1, 2 ** 20, LONG_LEN - 1]) {
      assert.equal(values[at], expectedValue(dtype, at * DTYPE_BYTES[dtype]), `${dtype} ${at}`);
    }
  }
});

test('every float16 has its value', () => {
  const path = join(folder, 'all-halves');
  writeFileSync(
    path,
    Uint16Array.from({ length: 65_536 }, (_, bits) => bits),
  );
  const halves = MappedFile.open(path);
  const values = readFloats({ ...view('float16', [65_536]), address: halves.address });
  values.forEach((value, bits) => assert.equal(value, (bits >> 15 ? -1 : 1) * half(bits & 0x7fff)));
  halves.dispose();
});

test('a single infinity or NaN is found, in any type and place', () => {
  const bits = { float32: [0x7f800000, 0xff800000, 0x7fc00001], float16: [0x7c00, 0xfc01], bfloat16: [0x7f80, 0xff81] };
  for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
    for (const at of [0, LONG_LEN - 1]) {
      for (const bad of bits[dtype]) {
        const values = dtype === 'float32' ? new Uint32Array(LONG_LEN) : new Uint16Array(LONG_LEN);
        const path = join(folder, 'one-bad');
        writeFileSync(path, values);
        assert.equal(finiteFile(path, dtype), true);
        values[at] = bad;
        writeFileSync(path, values);
        assert.equal(finiteFile(path, dtype), false, `${dtype} ${bad} at ${at}`);
      }
    }
  }
});

function finiteFile(path: string, dtype: Dtype): boolean {
  const mapped = MappedFile.open(path);
  const finite = isFiniteTensor({ ...view(dtype, [LONG_LEN]), address: mapped.address });
  mapped.dispose();
  return finite;
}

test('strides of dimensions that are walked decide whether a view is row-major', () => {
  assert.equal(isRowMajor(view('float32', [2, 3])), true);
  assert.equal(isRowMajor(view('float32', [2, 3], { strides: [1, 2] })), false);
  assert.equal(isRowMajor(view('float32', [1, 3], { strides: [99, 1] })), true);
  assert.equal(isRowMajor(view('float32', [0, 3], { strides: [7, 7] })), true);
  assert.equal(elementCount([]), 1);
  assert.equal(isRowMajor(view('float32', [])), true);
});

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../base/handles.ts';
import { writeSafetensors, type TensorToWrite } from './safetensors-writer.ts';
import { openSafetensors } from './safetensors.ts';
import { DTYPE_BYTES, elementCount, type Dtype } from './tensor-view.ts';
import { damaged, readAllOrFault } from './testdata/damage.ts';
import { readFloats } from './values.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorax-safetensors-'));
const path = join(folder, 'a.safetensors');
after(() => {
  rmSync(folder, { recursive: true });
  assert.deepEqual(liveHandles(), {});
});

/** A file with any header text and any number of data bytes. */
function write(header: string | Uint8Array, dataBytes: number): void {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
}

function refuses(header: unknown, dataBytes: number, message: RegExp): void {
  write(typeof header === 'string' ? header : JSON.stringify(header), dataBytes);
  assert.throws(() => openSafetensors(path), { code: 'FILE_INVALID', message });
}

const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

const dtypes = fc.constantFrom<Dtype>('float32', 'float16', 'bfloat16');
const tensors = fc.uniqueArray(
  fc
    .record({ name: fc.string(), dtype: dtypes, shape: fc.array(fc.nat(5), { maxLength: 4 }), seed: fc.nat(255) })
    .filter(({ name }) => name !== '__metadata__')
    .map(({ name, dtype, shape, seed }): TensorToWrite & { bytes: Uint8Array } => {
      const byteLength = elementCount(shape) * DTYPE_BYTES[dtype];
      return { name, dtype, shape, bytes: Uint8Array.from({ length: byteLength }, (_, i) => seed + i * 3) };
    }),
  { selector: ({ name }) => name, maxLength: 6 },
);

test('what was written is read back, in place and aligned', () => {
  fc.assert(
    fc.property(tensors, (written) => {
      writeSafetensors(path, written);
      const file = openSafetensors(path);
      assert.deepEqual([...file.names].sort(), written.map(({ name }) => name).sort());
      assert.equal(
        file.byteLength,
        written.reduce((sum, { bytes }) => sum + bytes.length, 0),
      );
      for (const { name, dtype, shape, bytes } of written) {
        const view = file.get(name);
        assert.ok(view);
        assert.deepEqual([view.name, view.dtype, view.shape], [name, dtype, shape]);
        assert.equal(view.address % BigInt(DTYPE_BYTES[dtype]), 0n);
        if (dtype === 'float32') assert.deepEqual(new Uint8Array(readFloats(view).buffer), bytes);
      }
      assert.equal(file.get('no such tensor \0'), undefined);
      file.dispose();
    }),
    { numRuns: 50 },
  );
});

test('tensors larger than memory wants are written chunk by chunk', () => {
  const chunk = new Uint8Array(Float32Array.of(1, 2).buffer);
  writeSafetensors(path, [{ name: 'w', dtype: 'float32', shape: [3, 2], bytes: () => [chunk, chunk, chunk] }]);
  const file = openSafetensors(path);
  const view = file.get('w');
  assert.ok(view);
  assert.deepEqual([...readFloats(view)], [1, 2, 1, 2, 1, 2]);
  file.dispose();
  const short = { name: 'w', dtype: 'float32', shape: [3], bytes: chunk } as const;
  assert.throws(() => writeSafetensors(path, [short]), /tensor w has the bytes of its shape/);
  const twice = { name: 'w', dtype: 'float32', shape: [2], bytes: chunk } as const;
  assert.throws(() => writeSafetensors(path, [twice, twice]), /names are unique/);
});

test('metadata is ignored and names like __proto__ are names', () => {
  write('{"__metadata__":{"format":"pt"},"__proto__":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  ', 4);
  const file = openSafetensors(path);
  assert.deepEqual(file.names, ['__proto__']);
  assert.deepEqual(file.get('__proto__')?.shape, []);
  assert.equal(file.get('constructor'), undefined);
  file.dispose();
});

test('a tensor without elements takes no bytes, wherever it stands', () => {
  write(JSON.stringify({ a: entry('F32', [2], 0, 8), e: entry('F32', [0, 7], 8, 8), b: entry('F16', [1], 8, 10) }), 10);
  const file = openSafetensors(path);
  assert.deepEqual([...file.names].sort(), ['a', 'b', 'e']);
  const empty = file.get('e');
  assert.ok(empty);
  assert.equal(readFloats(empty).length, 0);
  file.dispose();
});

test('a tensor of a type that nobody reads is listed, and only asking for it is an error', () => {
  write(JSON.stringify({ mask: entry('BOOL', [3], 0, 3), w: entry('F32', [1], 3, 7), q: entry('F4', [2], 7, 8) }), 8);
  const file = openSafetensors(path);
  assert.deepEqual(file.names, ['mask', 'w', 'q']);
  assert.deepEqual(file.get('w')?.shape, [1]);
  assert.throws(() => file.get('mask'), {
    code: 'FILE_INVALID',
    message: /^a\.safetensors: tensor "mask" has type BOOL/,
  });
  assert.throws(() => file.get('q'), { code: 'FILE_INVALID', message: /type F4/ });
  file.dispose();
  assert.throws(() => file.get('w'), /after dispose/);
});

test('a file that is too short, or shorter than its header says, is refused', () => {
  for (const [bytes, message] of [
    [[], /too short/],
    [[1, 0, 0, 0, 0, 0, 0], /too short/],
    [[1, 0, 0, 0, 0, 0, 0, 0], /header is longer than the file/],
    [[0, 0, 0, 0, 0, 0, 0, 0], /does not begin with/],
    [[0x01, 0, 0, 0x01, 0, 0, 0, 0], /header is larger than 16777216/],
    [[255, 255, 255, 255, 255, 255, 255, 255, 0x7b, 0x7d], /header is larger/],
  ] as const) {
    writeFileSync(path, Uint8Array.from(bytes));
    assert.throws(() => openSafetensors(path), { code: 'FILE_INVALID', message });
  }
});

test('a header that is not an object with unique keys is refused', () => {
  refuses('[]', 0, /does not begin with/);
  refuses(' {}', 0, /does not begin with/);
  refuses('{"a":', 0, /not a valid JSON object/);
  refuses('{}x', 0, /not a valid JSON object/);
  const twice = JSON.stringify(entry('F32', [1], 0, 4));
  refuses(`{"a":${twice},"a":${twice}}`, 4, /unique keys/);
  refuses('{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', 4, /unique keys/);
  refuses(`{"a":${'['.repeat(100_000)}`, 0, /not a valid JSON object/);
  const many = Array.from({ length: 100_001 }, (_, i) => `"${i}":0`);
  refuses(`{${many.join(',')}}`, 0, /more than 100000 tensors/);
});

test('an entry with a missing, negative, fractional or oversized number is refused by its tensor', () => {
  refuses({ a: 1 }, 0, /tensor "a" is not described/);
  refuses({ a: { shape: [1], data_offsets: [0, 4] } }, 4, /tensor "a" has no dtype/);
  refuses({ a: entry('F33', [1], 0, 4) }, 4, /unknown dtype "F33"/);
  refuses({ a: entry('constructor', [1], 0, 4) }, 4, /unknown dtype/);
  for (const shape of [undefined, '1', [-1], [1.5], [1e300], [2 ** 53], ['1'], [null], { 0: 1, length: 1 }]) {
    refuses({ a: entry('F32', shape, 0, 4) }, 4, /tensor "a" has a shape that is not/);
  }
  for (const [begin, end] of [
    [-4, 0],
    [0, 4.5],
    ['0', 4],
    [0, null],
    [0, 2 ** 60],
  ]) {
    refuses({ a: entry('F32', [1], begin, end) }, 4, /tensor "a" has no pair of data offsets/);
  }
  refuses({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 2, 4] } }, 4, /no pair/);
});

test('a span that is not the size of its tensor is refused', () => {
  refuses({ a: entry('F32', [2], 0, 4) }, 4, /tensor "a" of type F32 and shape \[2\] does not fit its 4 bytes/);
  refuses({ a: entry('F32', [1], 4, 0) }, 4, /does not fit its -4 bytes/);
  refuses({ a: entry('F32', [2 ** 31, 2 ** 31, 4], 0, 0) }, 0, /does not fit/);
  refuses({ a: entry('F32', [...Array<number>(64).fill(2 ** 52), 0], 0, 0) }, 0, /does not fit/);
  refuses({ a: entry('F4', [3], 0, 1) }, 1, /does not fit/);
});

test('tensors that overlap, leave a hole or do not end with the file are refused', () => {
  const a = entry('F32', [2], 0, 8);
  refuses({ a, b: entry('F32', [2], 4, 12) }, 12, /tensor "b" begins inside another tensor/);
  refuses({ a, b: a }, 8, /begins inside another tensor/);
  refuses({ a, b: entry('F32', [1], 12, 16) }, 16, /tensor "b" begins after a hole/);
  refuses({ b: entry('F32', [1], 4, 8) }, 8, /after a hole/);
  refuses({ a }, 4, /take 8 bytes, the file has 4/);
  refuses({ a }, 12, /take 8 bytes, the file has 12/);
  refuses({}, 1, /take 0 bytes, the file has 1/);
});

test('a long or odd name is cut short and escaped in the error', () => {
  refuses({ [`\n${'x'.repeat(10_000)}`]: 1 }, 0, /^a\.safetensors: tensor "\\nx{159}…" is not described/);
});

test('a damaged file is refused or read, never more', () => {
  writeSafetensors(path, [
    { name: 'a', dtype: 'float32', shape: [2, 3], bytes: new Uint8Array(24) },
    { name: 'b', dtype: 'bfloat16', shape: [5], bytes: new Uint8Array(10) },
    { name: 'c', dtype: 'float16', shape: [0, 2], bytes: new Uint8Array(0) },
  ]);
  const original = readFileSync(path);
  fc.assert(
    fc.property(damaged(original), (bytes) => {
      writeFileSync(path, bytes);
      readAllOrFault(() => openSafetensors(path));
    }),
    { numRuns: 1_000 },
  );
});

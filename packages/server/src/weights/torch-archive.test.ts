import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { liveHandles } from '../base/handles.ts';
import type { TensorFile } from './tensor-view.ts';
import { damaged, readAllOrFault } from './testdata/damage.ts';
import {
  checkpointBytes,
  checkpointParts,
  PICKLE,
  tensorsPickle,
  tupleOps,
  zipBytes,
  type PickledView,
} from './testdata/torch-bytes.ts';
import { openTorchArchive } from './torch-archive.ts';
import { readFloats } from './values.ts';

const testdata = fileURLToPath(new URL('../../src/weights/testdata/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'lorax-torch-'));
const path = join(folder, 'a.bin');
after(() => {
  rmSync(folder, { recursive: true });
  assert.deepEqual(liveHandles(), {});
});

function open(bytes: Uint8Array): TensorFile {
  writeFileSync(path, bytes);
  return openTorchArchive(path);
}

function refuses(bytes: Uint8Array, message: RegExp): void {
  assert.throws(() => open(bytes), { code: 'FILE_INVALID', message });
  assert.deepEqual(liveHandles(), {});
}

function values(file: TensorFile, name: string): number[] {
  const view = file.get(name);
  assert.ok(view, name);
  return [...readFloats(view)];
}

const floats = (...list: number[]) => Buffer.from(Float32Array.from(list).buffer);

const w: PickledView = {
  name: 'w',
  storage: 'FloatStorage',
  key: '0',
  elementCount: 6,
  offset: 0,
  shape: [2, 3],
  strides: [3, 1],
};
const sixFloats = { 0: floats(1, 2, 3, 4, 5, 6) };

const checkpoint = (view: Partial<PickledView>, storages: Record<string, Uint8Array> = sixFloats) =>
  checkpointBytes(tensorsPickle([{ ...w, ...view }]), storages);

const rawPickle = (...ops: Uint8Array[]) => checkpointBytes(Buffer.concat(ops), sixFloats);

interface ExpectedTensor {
  readonly shape: readonly number[];
  readonly sum: number;
  readonly first: number;
  readonly last: number;
}

test('a checkpoint that PyTorch wrote has the values that Python reads from it', () => {
  // Written with CPython's pickle, zipfile and struct from the same file.
  const expected = JSON.parse(readFileSync(join(testdata, 'adapter_model.expected.json'), 'utf8')) as Record<
    string,
    ExpectedTensor
  >;
  const file = openTorchArchive(join(testdata, 'adapter_model.bin'));
  assert.deepEqual(file.names, Object.keys(expected));
  assert.equal(file.byteLength, 62_464);
  for (const [name, { shape, sum, first, last }] of Object.entries(expected)) {
    assert.deepEqual(file.get(name)?.shape, shape);
    const list = values(file, name);
    assert.equal(list[0], first);
    assert.equal(list.at(-1), last);
    assert.ok(Math.abs(list.reduce((total, value) => total + value, 0) - sum) < 1e-9);
  }
  file.dispose();
});

test('views keep their offset and strides, and tensors may share a storage', () => {
  const views: PickledView[] = [
    w,
    { ...w, name: 'transposed', shape: [3, 2], strides: [1, 3] },
    { ...w, name: 'row', offset: 3, shape: [3], strides: [1], parameter: true },
    { ...w, name: 'scalar', offset: 5, shape: [], strides: [] },
    { ...w, name: 'empty', offset: 6, shape: [0, 3], strides: [3, 1] },
  ];
  const file = open(checkpointBytes(tensorsPickle(views), sixFloats));
  assert.deepEqual(values(file, 'w'), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(values(file, 'transposed'), [1, 4, 2, 5, 3, 6]);
  assert.deepEqual(values(file, 'row'), [4, 5, 6]);
  assert.deepEqual(values(file, 'scalar'), [6]);
  assert.deepEqual(values(file, 'empty'), []);
  assert.equal(file.get('absent'), undefined);
  assert.equal(file.byteLength, 24);
  file.dispose();
});

test('float16 and bfloat16 storages are read', () => {
  const half = { ...w, name: 'h', storage: 'HalfStorage', key: 'h', elementCount: 2, shape: [2], strides: [1] };
  const brain = { ...half, name: 'b', storage: 'BFloat16Storage', key: 'b' };
  const file = open(
    checkpointBytes(tensorsPickle([half, brain]), {
      h: Buffer.from(Uint16Array.of(0x3c00, 0xc100).buffer),
      b: Buffer.from(Uint16Array.of(0x3f80, 0xc020).buffer),
    }),
  );
  assert.deepEqual(values(file, 'h'), [1, -2.5]);
  assert.deepEqual(values(file, 'b'), [1, -2.5]);
  assert.deepEqual([file.get('h')?.dtype, file.get('b')?.dtype], ['float16', 'bfloat16']);
  file.dispose();
});

test('zip64 archives and an OrderedDict with metadata are read', () => {
  const inner = tensorsPickle([w]).subarray(3, -1);
  const ordered = Buffer.concat([PICKLE.global('collections', 'OrderedDict'), PICKLE.emptyTuple, PICKLE.reduce]);
  const metadata = Buffer.concat([
    PICKLE.emptyDict,
    PICKLE.text('_metadata'),
    PICKLE.none,
    PICKLE.setItem,
    PICKLE.build,
  ]);
  const pickle = Buffer.concat([PICKLE.proto(), ordered, inner, metadata, PICKLE.stop]);
  const file = open(zipBytes(checkpointParts(pickle, sixFloats), { zip64: true }));
  assert.deepEqual(values(file, 'w'), [1, 2, 3, 4, 5, 6]);
  file.dispose();
});

test('a tensor of a type that nobody reads is listed, and only asking for it is an error', () => {
  const storages = [
    ['DoubleStorage', 8, 'float64'],
    ['LongStorage', 8, 'int64'],
    ['IntStorage', 4, 'int32'],
    ['ShortStorage', 2, 'int16'],
    ['CharStorage', 1, 'int8'],
    ['ByteStorage', 1, 'uint8'],
    ['BoolStorage', 1, 'bool'],
    ['ComplexFloatStorage', 8, 'complex64'],
    ['ComplexDoubleStorage', 16, 'complex128'],
    ['UntypedStorage', 1, 'untyped bytes'],
  ] as const;
  for (const [storage, elementBytes, dtype] of storages) {
    const file = open(checkpoint({ storage }, { 0: Buffer.alloc(6 * elementBytes) }));
    assert.deepEqual(file.names, ['w']);
    assert.throws(() => file.get('w'), { code: 'FILE_INVALID', message: new RegExp(`tensor "w" has type ${dtype};`) });
    file.dispose();
  }
});

test('a global outside the list is named and nothing runs', () => {
  const args = tupleOps([PICKLE.text('echo pwned')]);
  for (const [module, name] of [
    ['posix', 'system'],
    ['builtins', 'eval'],
    ['torch', 'load'],
    ['torch._utils', '_rebuild_tensor'],
    ['__builtin__', '__proto__'],
    ['constructor', 'constructor'],
    ['torch', 'storage.UntypedStorage.__class__'],
  ] as const) {
    const hostile = rawPickle(PICKLE.proto(), PICKLE.global(module, name), ...args, PICKLE.reduce, PICKLE.stop);
    refuses(
      hostile,
      new RegExp(`^a\\.bin: the pickle cannot be read: it names "${module}\\.${name}", which is not allowed$`),
    );
  }
  const stackGlobal = Buffer.concat([PICKLE.text('posix'), PICKLE.text('system'), Buffer.from([0x93])]);
  refuses(rawPickle(PICKLE.proto(), stackGlobal, PICKLE.stop), /opcode 0x93 is not allowed/);
  refuses(rawPickle(PICKLE.proto(4), PICKLE.stop), /protocol 4 is not read/);
});

test('allowed names called with the wrong values are refused', () => {
  const rebuild = PICKLE.global('torch._utils', '_rebuild_tensor_v2');
  const parameter = PICKLE.global('torch._utils', '_rebuild_parameter');
  const ordered = PICKLE.global('collections', 'OrderedDict');
  const call = (callable: Buffer, ...args: Buffer[]) =>
    rawPickle(PICKLE.proto(), callable, ...tupleOps(args), PICKLE.reduce, PICKLE.stop);
  refuses(call(rebuild), /a tensor is described by the wrong values/);
  refuses(call(rebuild, PICKLE.text('storage'), PICKLE.int(0)), /wrong values/);
  refuses(call(parameter, PICKLE.int(1)), /a parameter is made without a tensor/);
  refuses(call(ordered, PICKLE.emptyList), /an OrderedDict is made with arguments/);
  refuses(call(PICKLE.global('torch', 'FloatStorage')), /REDUCE calls a plain value/);
  const persistent = (...id: Buffer[]) => rawPickle(PICKLE.proto(), ...tupleOps(id), PICKLE.persistentId, PICKLE.stop);
  const [storage, kind, key, device] = [
    PICKLE.text('storage'),
    PICKLE.global('torch', 'FloatStorage'),
    PICKLE.text('0'),
    PICKLE.text('cpu'),
  ];
  refuses(persistent(storage, kind, key, device), /a persistent id is no storage/);
  refuses(persistent(PICKLE.text('module'), kind, key, device, PICKLE.int(6)), /a persistent id is no storage/);
  refuses(persistent(storage, ordered, key, device, PICKLE.int(6)), /a storage is described by the wrong values/);
  refuses(persistent(storage, kind, PICKLE.int(0), device, PICKLE.int(6)), /a storage is described/);
  refuses(persistent(storage, kind, key, device, PICKLE.int(-6)), /a storage is described/);
});

test('a tensor outside its storage, or with more elements than it, is refused', () => {
  const outside = /a tensor does not fit its storage/;
  refuses(checkpoint({ offset: 1 }), outside);
  refuses(checkpoint({ shape: [7], strides: [1] }), outside);
  refuses(checkpoint({ shape: [2, 3], strides: [4, 1] }), outside);
  refuses(checkpoint({ shape: [1_000_000_000, 1_000_000_000], strides: [0, 0] }), outside);
  refuses(checkpoint({ shape: [0], strides: [1], offset: 7 }), outside);
  refuses(checkpoint({ shape: Array<number>(7).fill(2_000_000_000), strides: Array<number>(7).fill(0) }), outside);
  const wrong = /a tensor is described by the wrong values/;
  refuses(checkpoint({ shape: [6], strides: [1, 1] }), wrong);
  refuses(checkpoint({ shape: [-6], strides: [1] }), wrong);
  refuses(checkpoint({ shape: [6], strides: [-1] }), wrong);
  refuses(checkpoint({ offset: -1 }), wrong);
  refuses(checkpoint({ shape: Array<number>(9).fill(1), strides: Array<number>(9).fill(1) }), wrong);
});

test('a storage that is missing or has other bytes than its elements is refused', () => {
  refuses(checkpoint({ key: '1' }), /the storage of tensor "w" is missing/);
  refuses(checkpoint({ key: '../data.pkl' }), /the storage of tensor "w" is missing/);
  refuses(checkpoint({ elementCount: 7 }), /the storage of tensor "w" has 24 bytes/);
  refuses(checkpoint({ storage: 'HalfStorage' }), /the storage of tensor "w" has 24 bytes/);
});

test('a pickle that is not a dict of tensors is refused', () => {
  refuses(rawPickle(PICKLE.proto(), PICKLE.emptyList, PICKLE.stop), /holds no dict of tensors/);
  const entry = (...ops: Buffer[]) => rawPickle(PICKLE.proto(), PICKLE.emptyDict, ...ops, PICKLE.setItem, PICKLE.stop);
  refuses(entry(PICKLE.text('epoch'), PICKLE.int(3)), /the pickle's entry "epoch" is not a tensor/);
  refuses(entry(PICKLE.int(3), PICKLE.int(3)), /a tensor whose name is not a string/);
  const proto = tensorsPickle([{ ...w, name: '__proto__' }]);
  const file = open(checkpointBytes(proto, sixFloats));
  assert.deepEqual(file.names, ['__proto__']);
  file.dispose();
});

test('archives that torch did not write are refused', () => {
  const pickle = tensorsPickle([w]);
  const parts = checkpointParts(pickle, sixFloats);
  const [first, ...rest] = parts;
  assert.ok(first);
  refuses(
    Buffer.concat([PICKLE.proto(), PICKLE.long(0x1950a86a20f9469cfc6cn, 10), PICKLE.stop]),
    /before PyTorch 1\.6/,
  );
  refuses(Buffer.alloc(0), /not a zip archive/);
  refuses(zipBytes(rest), /no single data\.pkl/);
  refuses(zipBytes([...parts, { name: 'other/data.pkl', data: pickle }]), /no single data\.pkl/);
  refuses(zipBytes([...parts, { name: 'elsewhere', data: pickle }]), /entry "elsewhere" is outside/);
  refuses(zipBytes([...parts, { name: 'archive/../../etc/passwd', data: pickle }]), /passwd" is outside/);
  refuses(zipBytes([...parts, { name: 'archive\\..\\x', data: pickle }]), /is outside/);
  refuses(zipBytes([{ ...first, method: 8 }, ...rest]), /is compressed/);
  const bigEndian = parts.map((part) =>
    part.name.endsWith('byteorder') ? { ...part, data: Buffer.from('big') } : part,
  );
  refuses(zipBytes(bigEndian), /not little-endian/);
  const bomb = checkpointBytes(Buffer.alloc(64 * 2 ** 20 + 1), {});
  refuses(bomb, /data\.pkl is larger than/);
});

test('one long shape shared by many tensors does not multiply', () => {
  const ones = Buffer.concat(Array<Buffer>(200_000).fill(Buffer.from('K\x01')));
  const shape = [PICKLE.mark, ones, PICKLE.tuple, PICKLE.put(0)];
  const rebuild = PICKLE.global('torch._utils', '_rebuild_tensor_v2');
  const storage = [
    PICKLE.text('storage'),
    PICKLE.global('torch', 'FloatStorage'),
    PICKLE.text('0'),
    PICKLE.text('cpu'),
  ];
  const tensor = [
    rebuild,
    ...tupleOps([
      ...tupleOps([...storage, PICKLE.int(6)]),
      PICKLE.persistentId,
      PICKLE.int(0),
      PICKLE.get(0),
      PICKLE.get(0),
    ]),
    PICKLE.reduce,
  ];
  refuses(rawPickle(PICKLE.proto(), ...shape, ...tensor, PICKLE.stop), /described by the wrong values/);
});

test('a damaged checkpoint is refused or read, never more', () => {
  const views = [w, { ...w, name: 't', shape: [3, 2], strides: [1, 3] }, { ...w, name: 'p', parameter: true }];
  const pickle = tensorsPickle(views);
  const parts = checkpointParts(pickle, sixFloats);
  const handMade = fc.oneof(damaged(zipBytes(parts)), damaged(zipBytes(parts, { zip64: true })));
  const fromTorch = damaged(readFileSync(join(testdata, 'adapter_model.bin')));
  // Inside an intact archive, so that the damage reaches the pickle machine.
  const insidePickle = damaged(pickle).map((bytes) => checkpointBytes(bytes, sixFloats));
  fc.assert(
    fc.property(fc.oneof(handMade, fromTorch, insidePickle), (bytes) => {
      writeFileSync(path, bytes);
      readAllOrFault(() => openTorchArchive(path));
    }),
    { numRuns: 1_000 },
  );
});

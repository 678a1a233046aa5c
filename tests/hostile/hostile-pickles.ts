/** Checkpoints of PyTorch that would run code, grow without end or lead out of their archive where they were unpacked. */

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import {
  PICKLE,
  checkpointBytes,
  checkpointParts,
  tensorsPickle,
  tupleOps,
  zipBytes,
  type PickledView,
  type ZipPart,
} from '#server/weights/testdata/torch-bytes.ts';
import type { HostileAdapter } from './hostile-adapter.ts';
import { A, B, CONFIG, HALF, RANK, WIDTH, loraConfig, values } from './sound-files.ts';

const COUNT = RANK * WIDTH;
const BIN = 'adapter_model.bin';
/** What every one of these answers names. */
const ITS_FILE = /adapter_model\.bin: /;

function spoiled(name: string, bin: Uint8Array, says: RegExp = ITS_FILE): HostileAdapter {
  return { name: `pickle-${name}`, files: { [CONFIG]: loraConfig(), [BIN]: bin }, says };
}

const STORAGES = { 0: values().subarray(0, HALF), 1: values().subarray(HALF) };
const VIEW: PickledView = {
  ...{ name: A, storage: 'FloatStorage', key: '0', elementCount: COUNT, offset: 0 },
  ...{ shape: [RANK, WIDTH], strides: [WIDTH, 1] },
};
const SOUND: readonly PickledView[] = [VIEW, { ...VIEW, name: B, key: '1', shape: [WIDTH, RANK], strides: [RANK, 1] }];

function pickled(...ops: readonly Uint8Array[]): Buffer {
  return checkpointBytes(Buffer.concat([PICKLE.proto(), ...ops, PICKLE.stop]), STORAGES);
}

function view(changes: Partial<PickledView>): Buffer {
  return checkpointBytes(tensorsPickle([{ ...VIEW, ...changes }, ...SOUND.slice(1)]), STORAGES);
}

const call = (module: string, name: string, ...args: readonly Buffer[]): Buffer[] => [
  PICKLE.global(module, name),
  ...tupleOps(args),
  PICKLE.reduce,
];
/** Is there once any of these has run code. */
export const WITNESS = join(tmpdir(), `lorax-ran-code-${process.pid}`);
const COMMAND = PICKLE.text(`touch ${WITNESS}`);

const code: readonly HostileAdapter[] = [
  spoiled('os-system', pickled(...call('os', 'system', COMMAND)), /os\.system/),
  spoiled('posix-system', pickled(...call('posix', 'system', COMMAND)), /posix\.system/),
  spoiled('eval', pickled(...call('builtins', 'eval', PICKLE.text('1'))), /builtins\.eval/),
  spoiled('getattr', pickled(...call('builtins', 'getattr', PICKLE.text('a'), PICKLE.text('b'))), /builtins\.getattr/),
  spoiled('prototype', pickled(PICKLE.global('__proto__', 'constructor')), /__proto__\.constructor/),
  spoiled('torch-load', pickled(...call('torch', 'load', PICKLE.text('/etc/passwd'))), /torch\.load/),
  spoiled(
    'inside-a-tensor',
    pickled(PICKLE.emptyDict, PICKLE.text(A), ...call('os', 'system', COMMAND), PICKLE.setItem),
    /os\.system/,
  ),
  spoiled('without-archive', Buffer.concat([PICKLE.proto(), ...call('os', 'system', COMMAND), PICKLE.stop])),
];

/** Each list holds the one before it ten times: ten to the thirtieth values for whoever copies them. */
function laughs(): Buffer[] {
  const ops: Buffer[] = [PICKLE.emptyList, PICKLE.put(0)];
  for (let depth = 1; depth <= 30; depth++) {
    const tenTimes = Array.from({ length: 10 }, () => PICKLE.get(depth - 1));
    ops.push(PICKLE.emptyList, PICKLE.mark, ...tenTimes, PICKLE.appends, PICKLE.put(depth));
  }
  return ops;
}

const growth: readonly HostileAdapter[] = [
  spoiled('laughs', pickled(PICKLE.emptyDict, PICKLE.text(A), ...laughs(), PICKLE.setItem)),
  spoiled('itself', pickled(PICKLE.emptyList, PICKLE.put(0), PICKLE.get(0), PICKLE.append)),
  spoiled('three-million-lists', pickled(Buffer.alloc(3_000_000, PICKLE.emptyList))),
  spoiled(
    'memos',
    pickled(PICKLE.emptyDict, ...Array.from({ length: 100_000 }, (_, i) => PICKLE.put(2 ** 31 + i))),
    /lora_A/,
  ),
  spoiled('text-of-4-gib', pickled(Buffer.from([0x58, 0xff, 0xff, 0xff, 0xff, 0x61]))),
  spoiled('protocol-5', pickled(PICKLE.proto(5))),
  spoiled('pops-nothing', pickled(PICKLE.reduce)),
  spoiled('not-a-dict', pickled(PICKLE.int(1))),
];

const tensors: readonly HostileAdapter[] = [
  spoiled('offset-outside', view({ offset: COUNT })),
  spoiled('offset-below-0', view({ offset: -1 })),
  spoiled('strides-outside', view({ strides: [2 ** 30, 2 ** 30] })),
  spoiled('strides-below-0', view({ strides: [-WIDTH, -1] })),
  spoiled('strides-of-0', view({ shape: [2 ** 30, 2 ** 20], strides: [0, 0] })),
  spoiled('storage-too-small', view({ elementCount: 2 ** 31 - 1 })),
  spoiled('storage-missing', view({ key: '../../etc/passwd' })),
  spoiled('many-dimensions', view({ shape: Array<number>(64).fill(1), strides: Array<number>(64).fill(1) })),
  spoiled(
    'nan',
    checkpointBytes(tensorsPickle(SOUND), { ...STORAGES, 0: values({ 0: NaN }).subarray(0, HALF) }),
    /lora_A/,
  ),
];

const PARTS = checkpointParts(tensorsPickle(SOUND), STORAGES);

function changed(name: string, change: Partial<ZipPart>): readonly ZipPart[] {
  return PARTS.map((part) => (part.name.endsWith(name) ? { ...part, ...change } : part));
}

function deflated(byteLength: number): readonly ZipPart[] {
  const data = deflateRawSync(Buffer.alloc(1 << 20));
  return changed('data/0', { data, method: 8, byteLength, packedBytes: data.length });
}

const archives: readonly HostileAdapter[] = [
  spoiled('entry-leads-out', zipBytes([...PARTS, { name: '../../x', data: Buffer.from('x') }])),
  spoiled('entry-leads-out-inside', zipBytes([...PARTS, { name: 'archive/../../x', data: Buffer.from('x') }])),
  spoiled('entry-absolute', zipBytes([...PARTS, { name: '/etc/x', data: Buffer.from('x') }])),
  spoiled('entry-twice', zipBytes([...PARTS, ...PARTS])),
  spoiled('two-pickles', zipBytes([...PARTS, { name: 'other/data.pkl', data: Buffer.from('.') }])),
  spoiled('entries-overlap', zipBytes(changed('data/1', { localOffset: 0 }))),
  spoiled('entry-past-the-end', zipBytes(changed('data/0', { localOffset: 2 ** 31 }))),
  spoiled('entry-too-long', zipBytes(changed('data/0', { byteLength: 2 ** 31 }))),
  spoiled('zip64-too-long', zipBytes(changed('data/0', { byteLength: 2 ** 52 }), { zip64: true })),
  spoiled('zip64-past-the-end', zipBytes(changed('data/0', { localOffset: 2 ** 52 }), { zip64: true })),
  spoiled('bomb', zipBytes(deflated(1 << 20))),
  spoiled('bomb-of-4-gib', zipBytes(deflated(2 ** 32 - 2))),
  spoiled('encrypted', zipBytes(changed('data/0', { flags: 1 }))),
  spoiled('other-local-name', zipBytes(changed('data.pkl', { localName: 'archive/date.pkl' }))),
  spoiled('no-directory', zipBytes(PARTS).subarray(0, -60)),
  spoiled('no-pickle', zipBytes([{ name: 'archive/data/0', data: Buffer.alloc(4) }])),
];

export const HOSTILE_PICKLES = [...code, ...growth, ...tensors, ...archives];

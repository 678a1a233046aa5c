import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { liveHandles } from '../../base/handles.ts';
import { NULL, type Pointer } from '../../native/ffi.ts';
import { Program } from './program.ts';
import { JointProgram } from './shards/joint-program.ts';
import { SharedCardCollectives } from './shards/shared-card.ts';
import type { Slab } from './slab.ts';
import { FakeDevice } from './testing/fake-device.ts';

let fake: FakeDevice;
beforeEach(() => void (fake = new FakeDevice()));
afterEach(() => {
  mock.restoreAll();
  fake.dispose();
  assert.deepEqual([fake.cuda.open, liveHandles()], [{}, {}]);
});

/** Adds an input to itself, over and over. */
function sumOf(read: () => Int32Array, count: number, additions = 1): { program: Program; sum: Slab } {
  const program = new Program(fake.device, fake.stream);
  let sum = program.input(count * 4, read);
  for (let i = 0; i < additions; i++) {
    const next = program.claim(count * 4);
    program.launchOver(count, 'add_rows', next, sum, sum);
    sum = next;
  }
  program.keep(sum);
  return { program, sum };
}

/** As a single shard runs it. */
function alone(program: Program): JointProgram {
  return new JointProgram([program], new SharedCardCollectives(fake.device, fake.stream));
}

function graphCalls(): string[] {
  return fake.cuda.calls.filter((name) => /Graph|Capture/.test(name));
}

const CAPTURE = [
  ...['cuStreamBeginCapture_v2', 'cuStreamEndCapture', 'cuGraphInstantiateWithFlags', 'cuGraphDestroy'],
  'cuGraphUpload',
];

describe('a program', () => {
  it('that is run often becomes a graph at its second run, which gets the inputs of each', () => {
    const uploads: [Pointer, number | undefined][] = [];
    mock.method(fake.device.driver, 'copyToDevice', (to: Pointer, bytes: Uint8Array) => {
      uploads.push([to, bytes[0]]);
      return 0;
    });
    let given = 0;
    const joint = alone(sumOf(() => Int32Array.of(++given), 1).program);
    joint.runOften([fake.arena], 'a test');
    assert.deepEqual([fake.launches.length, graphCalls()], [1, []]);
    joint.runOften([fake.arena], 'a test');
    assert.deepEqual([fake.launches.length, graphCalls()], [2, [...CAPTURE, 'cuGraphLaunch']]);
    joint.runOften([fake.arena], 'a test');
    assert.deepEqual([fake.launches.length, graphCalls().slice(6)], [2, ['cuGraphLaunch']]);
    const to = uploads[0]![0];
    assert.deepEqual(
      uploads,
      [1, 2, 3].map((first) => [to, first]),
    );
    joint.dispose();
  });

  it('is captured anew where its memory has moved', () => {
    const { program, sum } = sumOf(() => new Int32Array(1), 1);
    const joint = alone(program);
    for (let run = 0; run < 2; run++) joint.runOften([fake.arena], 'a test');
    const before = sum.address;
    sumOf(() => new Int32Array(5000), 5000).program.run(fake.arena, 'a larger one');
    const begun = graphCalls().length;
    joint.runOften([fake.arena], 'a test');
    assert.notEqual(sum.address, before);
    assert.equal(fake.launches.at(-1)!.args[0], sum.address);
    assert.deepEqual(graphCalls().slice(begun), ['cuGraphExecDestroy', ...CAPTURE, 'cuGraphLaunch']);
    joint.dispose();
  });

  it('is no graph where it runs once', () => {
    const { program } = sumOf(() => new Int32Array(1), 1);
    for (let run = 0; run < 3; run++) program.run(fake.arena, 'a test');
    assert.deepEqual(graphCalls(), []);
  });

  it('writes what is optional only where something reads it', () => {
    const program = new Program(fake.device, fake.stream);
    const [read, unread, kept, y] = Array.from({ length: 4 }, () => program.claim(4)) as [Slab, Slab, Slab, Slab];
    for (const optional of [read, unread, kept]) program.launchOver(1, 'add_rows', { optional }, y, y);
    program.launchOver(1, 'add_rows', y, read, read);
    program.keep(kept);
    program.run(fake.arena, 'a test');
    const targets = fake.launches.slice(0, 3).map(({ args }) => args[0]);
    assert.deepEqual(targets, [read.address, NULL, kept.address]);
  });

  it('takes turns in its memory, inputs and results apart', () => {
    const { program } = sumOf(() => new Int32Array(64), 64, 10);
    program.run(fake.arena, 'a test');
    const places = fake.launches.flatMap(({ args: [to, from] }) => [to, from]);
    assert.equal(new Set(places).size, 3);
    for (const { args } of fake.launches) assert.notEqual(args[0], args[1]);
  });
});

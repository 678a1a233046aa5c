import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Program } from '../program.ts';
import { Stream } from '../stream.ts';
import { FakeCuda } from '../testing/fake-cuda.ts';
import type { Meeting, SumMeeting } from './collectives.ts';
import { JointProgram } from './joint-program.ts';

/** A shard's program that does two things, with a meeting between them; tells what it does when. */
class WatchedProgram {
  readonly stream: { readonly handle: bigint };
  readonly device: unknown;
  prepare: () => boolean = () => true;
  readonly #name: string;
  readonly #log: string[];

  constructor(name: string, cuda: FakeCuda, log: string[]) {
    this.#name = name;
    this.#log = log;
    this.device = { driver: cuda.libraries.driver };
    this.stream = new Stream(cuda.libraries.driver);
  }

  *give(): Generator<Meeting, void> {
    this.#log.push(`${this.#name} begins`);
    yield { kind: 'sum', address: BigInt(this.#name.length), count: 4 };
    this.#log.push(`${this.#name} ends`);
  }
}

function twoShards(): {
  first: WatchedProgram;
  second: WatchedProgram;
  joint: JointProgram;
  cuda: FakeCuda;
  log: string[];
} {
  const log: string[] = [];
  const cuda = new FakeCuda();
  const [first, second] = [new WatchedProgram('1', cuda, log), new WatchedProgram('22', cuda, log)];
  const hold = (meetings: readonly Meeting[]): void => {
    log.push(`meeting of ${meetings.map((meeting) => (meeting as SumMeeting).address).join()}`);
  };
  return {
    first,
    second,
    joint: new JointProgram([first, second] as unknown as Program[], { finishesSums: false, hold }),
    cuda,
    log,
  };
}

describe('programs of several shards', () => {
  it('wait for each other where they meet, in the order of the shards', () => {
    const { joint, log } = twoShards();
    joint.run([], 'a step');
    assert.deepEqual(log, ['1 begins', '22 begins', 'meeting of 1,2', '1 ends', '22 ends']);
  });

  it('are recorded from the second run on, a graph for each stream, and brought up before any is launched', () => {
    const { joint, cuda, log } = twoShards();
    for (let run = 0; run < 4; run++) joint.runOften([], 'a step');
    assert.equal(log.length, 10);
    const graphs = cuda.calls.filter((name) => /Instantiate|Upload|Launch/.test(name));
    const launches = ['cuGraphLaunch', 'cuGraphLaunch'];
    assert.deepEqual(graphs.slice(2), ['cuGraphUpload', 'cuGraphUpload', ...launches, ...launches, ...launches]);
    joint.dispose();
    assert.deepEqual(cuda.open, { stream: 2 });
  });

  it('are recorded anew where memory moved, also where a shard found none when another had moved', () => {
    const { joint, first, second, cuda } = twoShards();
    const recorded = (): number => cuda.calls.filter((name) => name.startsWith('cuGraphInstantiate')).length;
    for (let run = 0; run < 3; run++) joint.runOften([], 'a step');
    assert.equal(recorded(), 2);
    first.prepare = () => false;
    second.prepare = () => {
      throw new Error('no memory');
    };
    assert.throws(() => joint.runOften([], 'a step'), /no memory/);
    first.prepare = () => true;
    second.prepare = () => true;
    joint.runOften([], 'a step');
    assert.equal(recorded(), 4);
    joint.dispose();
    assert.deepEqual(cuda.open, { stream: 2 });
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Nccl } from '../nccl.ts';
import type { GatherMeeting, MeetingCard } from './collectives.ts';
import { NcclCollectives } from './nccl-collectives.ts';

type Call = readonly unknown[];

/** Answers every call of NCCL with what `statuses` says, else with success; tells the calls and what kernels the cards get. */
class Watched {
  readonly calls: Call[] = [];
  readonly nccl: Nccl;
  readonly cards: readonly MeetingCard[];

  constructor(statuses: Readonly<Record<string, number>> = {}, failed: readonly boolean[] = [false, false]) {
    const answer =
      (name: string) =>
      (...args: unknown[]) => {
        this.calls.push([name, ...args]);
        return statuses[name] ?? 0;
      };
    const initAll = (communicators: BigUint64Array, ...args: unknown[]): number => {
      communicators.set([11n, 12n]);
      return answer('initAll')(...args);
    };
    const names = ['abort', 'destroy', 'groupStart', 'groupEnd', 'allReduce', 'broadcast'];
    this.nccl = { initAll, ...Object.fromEntries(names.map((name) => [name, answer(name)])) } as unknown as Nccl;
    this.cards = failed.map((hasFailed, i) => {
      const launch = (stream: bigint, name: string, _grid: unknown, ...args: unknown[]): number =>
        this.calls.push([name, stream, ...args]);
      const device = { properties: { index: 2 + i }, kernels: { launch } };
      return { device, stream: { handle: BigInt(5 + i), hasFailed } } as unknown as MeetingCard;
    });
  }
}

describe('meetings through NCCL', () => {
  it('are one group: a sum in place for each card', () => {
    const { nccl, cards, calls } = new Watched();
    const collectives = new NcclCollectives(nccl, cards);
    collectives.hold([256n, 512n].map((address) => ({ kind: 'sum', address, count: 8 }) as const));
    collectives.dispose();
    assert.deepEqual(calls, [
      ['initAll', 2, Int32Array.of(2, 3)],
      ['groupStart'],
      ['allReduce', 256n, 256n, 8, 7, 0, 11n, 5n],
      ['allReduce', 512n, 512n, 8, 7, 0, 12n, 6n],
      ['groupEnd'],
      ['destroy', 11n],
      ['destroy', 12n],
    ]);
  });

  it('give every part from its own card to all, which make columns of them', () => {
    const { nccl, cards, calls } = new Watched();
    const collectives = new NcclCollectives(nccl, cards);
    const gather: Omit<GatherMeeting, 'part' | 'whole' | 'aside'> = { kind: 'gather', rows: 4, widths: [3, 2] };
    collectives.hold([
      { ...gather, part: 1000n, whole: 2000n, aside: 3000n },
      { ...gather, part: 1001n, whole: 2001n, aside: 3001n },
    ]);
    assert.deepEqual(calls.slice(2), [
      ['broadcast', 1000n, 1000n, 12, 7, 0, 11n, 5n],
      ['broadcast', 3048n, 3048n, 8, 7, 1, 11n, 5n],
      ['broadcast', 3001n, 3001n, 12, 7, 0, 12n, 6n],
      ['broadcast', 1001n, 1001n, 8, 7, 1, 12n, 6n],
      ['groupEnd'],
      ['place_columns', 5n, 2000n, 5, 1000n, 3, 0, 3, 12],
      ['place_columns', 5n, 2012n, 5, 3048n, 2, 0, 2, 8],
      ['place_columns', 6n, 2001n, 5, 3001n, 3, 0, 3, 12],
      ['place_columns', 6n, 2013n, 5, 1001n, 2, 0, 2, 8],
    ]);
    collectives.dispose();
  });

  it('end the group where a card cannot join, and say so', () => {
    const { nccl, cards, calls } = new Watched({ allReduce: 3 });
    const collectives = new NcclCollectives(nccl, cards);
    const sum = { kind: 'sum', address: 256n, count: 8 } as const;
    assert.throws(() => collectives.hold([sum, sum]), { code: 'GENERATION', message: /NCCL reported result 3/ });
    assert.deepEqual(calls.at(-1), ['groupEnd']);
    collectives.dispose();
  });

  it('are broken off where a card has failed, which would be waited for', () => {
    const { nccl, cards, calls } = new Watched({}, [false, true]);
    new NcclCollectives(nccl, cards).dispose();
    assert.deepEqual(calls.slice(1), [
      ['abort', 11n],
      ['abort', 12n],
    ]);
  });
});

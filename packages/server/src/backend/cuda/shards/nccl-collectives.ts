/** Meetings of shards that have a card each, through NCCL. */

import { countHandle } from '../../../base/handles.ts';
import { LoraxError } from '../../../base/errors.ts';
import type { Pointer } from '../../../native/ffi.ts';
import { forgetContext } from '../context.ts';
import type { Nccl } from '../nccl.ts';
import { FLOAT_BYTES } from '../values.ts';
import { firstColumns, type Collectives, type GatherMeeting, type Meeting, type MeetingCard } from './collectives.ts';
import { placeColumns } from './place-columns.ts';

/** `ncclFloat32` and `ncclSum`. */
const FLOAT32 = 7;
const SUM = 0;

export class NcclCollectives implements Collectives {
  readonly finishesSums = false;
  readonly #nccl: Nccl;
  readonly #communicators: BigUint64Array;
  readonly #cards: readonly MeetingCard[];

  /** One for each shard, in their order. */
  constructor(nccl: Nccl, cards: readonly MeetingCard[]) {
    this.#nccl = nccl;
    this.#cards = cards;
    this.#communicators = new BigUint64Array(cards.length);
    const indices = Int32Array.from(cards, ({ device }) => device.properties.index);
    try {
      requireStatus(nccl.initAll(this.#communicators, cards.length, indices), 'joining the cards');
    } finally {
      forgetContext();
    }
    countHandle('nccl communicators', 1);
  }

  hold(meetings: readonly Meeting[]): void {
    this.#exchange(meetings);
    for (const [shard, meeting] of meetings.entries()) {
      if (meeting.kind === 'gather') this.#assemble(shard, meeting);
    }
  }

  dispose(): void {
    // It waits for graphs that name it, which a card that is lost never gives back.
    const hasFailed = this.#cards.some(({ stream }) => stream.hasFailed);
    for (const communicator of this.#communicators) {
      if (hasFailed) this.#nccl.abort(communicator);
      else this.#nccl.destroy(communicator);
    }
    forgetContext();
    countHandle('nccl communicators', -1);
  }

  #exchange(meetings: readonly Meeting[]): void {
    const what = 'an exchange between the cards';
    requireStatus(this.#nccl.groupStart(), what);
    try {
      for (const [shard, meeting] of meetings.entries()) requireStatus(this.#join(shard, meeting), what);
    } finally {
      // A group that was begun ends, whatever came of its members.
      const status = this.#nccl.groupEnd();
      forgetContext();
      requireStatus(status, what);
    }
  }

  #join(shard: number, meeting: Meeting): number {
    const own = [this.#communicators[shard]!, this.#cards[shard]!.stream.handle] as const;
    if (meeting.kind === 'sum') {
      const { address, count } = meeting;
      return this.#nccl.allReduce(address, address, count, FLOAT32, SUM, ...own);
    }
    for (const [root, part] of arrivals(meeting, shard).entries()) {
      const count = meeting.rows * meeting.widths[root]!;
      const status = this.#nccl.broadcast(part, part, count, FLOAT32, root, ...own);
      if (status !== 0) return status;
    }
    return 0;
  }

  #assemble(shard: number, meeting: GatherMeeting): void {
    const { device, stream } = this.#cards[shard]!;
    for (const [from, part] of arrivals(meeting, shard).entries()) placeColumns(device, stream, meeting, from, part);
  }
}

/** By sender: where its part is on the shard. */
function arrivals(meeting: GatherMeeting, shard: number): Pointer[] {
  const firsts = firstColumns(meeting);
  return firsts.map((first, sender) => {
    return sender === shard ? meeting.part : meeting.aside + BigInt(meeting.rows * first * FLOAT_BYTES);
  });
}

function requireStatus(status: number, what: string): void {
  if (status !== 0) throw new LoraxError('GENERATION', { reason: `${what}: NCCL reported result ${status}` });
}

/**
 * Meetings of cards that reach each other's memory, in one kernel a card, which begins sooner than anything that a library does. Owns
 * the memory that cards write to each other.
 */

import { Owned } from '../../../base/owned.ts';
import { NULL, type Pointer } from '../../../native/ffi.ts';
import type { DeviceMemory } from '../device-memory.ts';
import type { CudaDevice } from '../device.ts';
import { requireSuccess } from '../driver.ts';
import type { Grid } from '../launch-configuration.ts';
import { FLOAT_BYTES } from '../values.ts';
import {
  FINISHED_TOGETHER,
  firstColumns,
  type GatherMeeting,
  type Meeting,
  type MeetingCard,
  type SumFinish,
  type SumMeeting,
} from './collectives.ts';

/** As kernels/exchange.cu has them. */
const CHUNK = FINISHED_TOGETHER;
const THREADS = 512;
const MOST_BLOCKS = 256;
const MOST_CARDS = 8;
const MAILBOX_BYTES = 16;
const INT_BYTES = 4;
/** A thread loads four numbers at once. */
const TOGETHER = 4;
const ALIGNMENT = BigInt(TOGETHER * FLOAT_BYTES);
/** More than steps without prompts add up. */
const MANY = 2 ** 22;

/** Even and odd exchanges have memory of their own. */
const BYTES_PER_SENDER = 2 * MOST_BLOCKS * CHUNK * FLOAT_BYTES;

const NO_FINISH: SumFinish = { residual: NULL, y: NULL, weights: NULL, scaled: NULL, squares: NULL, width: 0 };

/** What one card has. */
interface Post {
  readonly card: MeetingCard;
  readonly memory: DeviceMemory;
  /** As the kernels take them: the mailboxes, this card's count of exchanges, its number and how many cards there are. */
  readonly places: readonly [Pointer, Pointer, number, number];
}

/** Where in a card's memory what begins, behind the numbers of all senders; in bytes. */
interface PostLayout {
  readonly flags: number;
  readonly exchanges: number;
  readonly mailboxes: number;
  readonly byteLength: number;
}

function layOutPost(cardCount: number): PostLayout {
  const flags = cardCount * BYTES_PER_SENDER;
  const exchanges = flags + cardCount * MOST_BLOCKS * INT_BYTES;
  const mailboxes = exchanges + MOST_BLOCKS * INT_BYTES;
  return { flags, exchanges, mailboxes, byteLength: mailboxes + cardCount * MAILBOX_BYTES };
}

export class PeerExchange {
  readonly #owned = new Owned();
  readonly #posts: readonly Post[];

  /** All of them must reach each other, as `reachEachOther` says. */
  constructor(cards: readonly MeetingCard[]) {
    const layout = layOutPost(cards.length);
    try {
      for (const card of cards) for (const other of cards) letAccess(card.device, other.device);
      this.#posts = cards.map((card, index) => this.#makePost(card, layout, index, cards.length));
      this.#begin(layout);
    } catch (error) {
      this.#owned.dispose();
      throw error;
    }
  }

  /** Gives the cards their kernels; false where they had better meet otherwise. */
  hold(meetings: readonly Meeting[]): boolean {
    if (!meetings.every((meeting) => this.#suits(meeting))) return false;
    for (const [index, meeting] of meetings.entries()) {
      if (meeting.kind === 'sum') this.#sum(index, meeting);
      else this.#gather(index, meeting);
    }
    return true;
  }

  /** Once all streams are idle. */
  dispose(): void {
    this.#owned.dispose();
  }

  #makePost(card: MeetingCard, { mailboxes, exchanges, byteLength }: PostLayout, index: number, count: number): Post {
    const memory = this.#owned.add(card.device.allocate(byteLength, 'what cards write to each other'));
    const at = (offset: number): Pointer => memory.address + BigInt(offset);
    return { card, memory, places: [at(mailboxes), at(exchanges), index, count] };
  }

  /** No flag is raised, no exchange was, and every card knows where the others' mailboxes are. */
  #begin({ flags, mailboxes }: PostLayout): void {
    const addresses = this.#posts.flatMap(({ memory: { address } }) => [address, address + BigInt(flags)]);
    for (const { card, memory } of this.#posts) {
      upload(card, memory.address + BigInt(flags), new Uint8Array(mailboxes - flags));
      upload(card, memory.address + BigInt(mailboxes), BigUint64Array.from(addresses));
    }
    // Cards write to each other from the first exchange on.
    for (const { card } of this.#posts) card.stream.wait('the memory that cards write to each other');
  }

  /** Every card gets the whole of every other one, which beyond two is more than it takes to add many numbers up. */
  #suits(meeting: Meeting): boolean {
    const cardCount = this.#posts.length;
    if (meeting.kind === 'gather') return cardCount <= MOST_CARDS;
    const { address, count } = meeting;
    return (cardCount === 2 || count <= MANY) && count % TOGETHER === 0 && address % ALIGNMENT === 0n;
  }

  #sum(index: number, { address, count, finish }: SumMeeting): void {
    const { card, places } = this.#posts[index]!;
    const { residual, y, weights, scaled, squares, width } = finish ?? NO_FINISH;
    card.device.kernels.launch(
      ...([card.stream.handle, 'sum_over_cards', gridFor(count), address, count, ...places] as const),
      ...[residual, y, weights, scaled, squares, width],
    );
  }

  #gather(index: number, meeting: GatherMeeting): void {
    const { card, places } = this.#posts[index]!;
    const { rows, widths, part, whole } = meeting;
    const ends = firstColumns(meeting).map((first, i) => first + widths[i]!);
    const allEnds = Array.from({ length: MOST_CARDS }, (_, i) => ends[i] ?? 0);
    const grid = gridFor(rows * Math.max(...widths));
    card.device.kernels.launch(
      ...([card.stream.handle, 'gather_over_cards', grid, whole, part, rows, ...places, ...allEnds] as const),
    );
  }
}

function gridFor(count: number): Grid {
  return { blocks: [Math.min(MOST_BLOCKS, Math.ceil(count / CHUNK))], threads: THREADS };
}

/** Whether every card can read and write every other card's memory. */
export function reachEachOther(devices: readonly CudaDevice[]): boolean {
  return devices.every((device) => devices.every((other) => canAccess(device, other)));
}

function canAccess({ driver, properties: { index } }: CudaDevice, { properties: peer }: CudaDevice): boolean {
  const can = new Int32Array(1);
  if (index === peer.index) return true;
  requireSuccess(driver.canAccessPeer(can, index, peer.index), `device ${index}`);
  return can[0] === 1;
}

/** NCCL may have done it before. */
const ALREADY_ENABLED = 704;

function letAccess(device: CudaDevice, other: CudaDevice): void {
  if (device.properties.index === other.properties.index) return;
  const result = device.driver.enablePeerAccess(other.context, 0);
  if (result !== ALREADY_ENABLED) requireSuccess(result, `device ${device.properties.index}`);
}

function upload({ device: { driver }, stream }: MeetingCard, to: Pointer, bytes: Uint8Array | BigUint64Array): void {
  requireSuccess(driver.copyToDevice(to, bytes, bytes.byteLength, stream.handle), 'an upload');
}

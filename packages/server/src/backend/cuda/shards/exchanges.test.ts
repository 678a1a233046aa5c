/** What shards exchange, on one card in streams of their own, and on two where there are two. Runs only where there is a card. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { liveHandles } from '../../../base/handles.ts';
import type { Pointer } from '../../../native/ffi.ts';
import { Owned } from '../../../base/owned.ts';
import { Random } from '../../../testing/random.ts';
import { captureGraphs } from '../captured-graph.ts';
import { CudaDevice, listDevices, type DeviceProperties } from '../device.ts';
import { requireSuccess } from '../driver.ts';
import { compileModules, type KernelModules } from '../kernel-modules.ts';
import { guardLibraries } from '../library-guard.ts';
import { loadCudaLibraries } from '../libraries.ts';
import { readInto } from '../device-rows.ts';
import { Stream } from '../stream.ts';
import type { Meeting, MeetingCard } from './collectives.ts';
import { NcclCollectives } from './nccl-collectives.ts';
import { PeerExchange } from './peer-exchange.ts';

/** What steps of 1, 32 and 128 rows add up, and sizes that leave blocks and threads without work, or give them several turns. */
const COUNTS = [4, 4096, 131_072, 2052, 1_000_000, 4096, 12, 131_072];

/** Beyond, several shards' kernels have no room on one card at once, where each waits for the others. */
const MOST_ON_ONE_CARD = 131_072;

/** Rows, and the width of each card's part, of logits and of less. */
const GATHERS = [
  { rows: 32, widths: [16_000, 16_000, 16_003] },
  { rows: 1, widths: [5, 1, 2] },
  { rows: 3, widths: [1001, 1003, 999] },
] as const;

interface Way {
  hold(meetings: readonly Meeting[]): unknown;
  dispose(): void;
}

/** By what it is: where the shards are, and how they meet. */
const WAYS = {
  'in the memory of one card, of two': { indices: [0, 0], open: (cards) => new PeerExchange(cards) },
  'in the memory of one card, of three': { indices: [0, 0, 0], open: (cards) => new PeerExchange(cards) },
  "in each other's memory": { indices: [0, 1], open: (cards) => new PeerExchange(cards) },
  'through NCCL': {
    indices: [0, 1],
    open: (cards) => new NcclCollectives(loadCudaLibraries().openNccl(), cards),
  },
} as const satisfies Record<string, { indices: readonly number[]; open: (cards: readonly MeetingCard[]) => Way }>;

type Placed = (typeof WAYS)[keyof typeof WAYS];

/** Kernels are compiled once. */
const kernelFolder = mkdtempSync(join(tmpdir(), 'lorax-peers-'));
after(() => rmSync(kernelFolder, { recursive: true }));

class Cards {
  readonly members: readonly MeetingCard[];
  readonly way: Way;
  readonly #owned = new Owned();

  private constructor({ indices, open }: Placed, found: readonly DeviceProperties[], modules: KernelModules) {
    const libraries = guardLibraries(loadCudaLibraries());
    const devices = [...new Set<number>(indices)].map((index) => {
      return this.#owned.add(new CudaDevice(libraries, found[index]!, modules));
    });
    this.members = indices.map((index) => {
      const device = devices[index]!;
      return { device, stream: this.#owned.add(new Stream(device.driver)) };
    });
    this.way = this.#owned.add<Way>(open(this.members));
  }

  /** Of a machine whose cards are alike. */
  static async open(placed: Placed): Promise<Cards> {
    const { driver, nvrtc } = loadCudaLibraries();
    const found = listDevices(driver);
    const { signal } = new AbortController();
    return new Cards(placed, found, await compileModules(nvrtc, found[0]!, { cacheFolder: kernelFolder, signal }));
  }

  /** Where on each card its values are. */
  upload(values: readonly Float32Array[]): Pointer[] {
    return this.members.map(({ device, stream }, i) => {
      const memory = this.#owned.add(device.allocate(values[i]!.byteLength, 'numbers'));
      const { driver } = device;
      const status = driver.copyToDevice(memory.address, values[i]!, memory.byteLength, stream.handle);
      requireSuccess(status, 'numbers');
      return memory.address;
    });
  }

  /** At once, or as graphs that are recorded and launched. */
  hold(meetings: readonly Meeting[], isRecorded: boolean): void {
    if (!isRecorded) return void this.way.hold(meetings);
    const targets = this.members.map(({ device: { driver }, stream }) => ({ driver, stream }));
    const graphs = captureGraphs(targets, () => void this.way.hold(meetings));
    for (const graph of graphs) graph.upload();
    for (const graph of graphs) graph.launch();
    for (const graph of graphs) this.#owned.add(graph);
  }

  /** Every card has them. */
  async check(addresses: readonly Pointer[], expected: Float32Array): Promise<void> {
    for (const [i, { device, stream }] of this.members.entries()) {
      await stream.finish('an exchange');
      assert.deepEqual(readInto(device.driver, new Float32Array(expected.length), addresses[i]!), expected);
    }
  }

  dispose(): void {
    this.#owned.dispose();
  }
}

async function sumOver(cards: Cards, count: number, isRecorded: boolean): Promise<void> {
  const random = new Random(count);
  const given = cards.members.map(() => Float32Array.from({ length: count }, () => random.integer(1000)));
  const places = cards.upload(given);
  cards.hold(
    places.map((address) => ({ kind: 'sum', address, count })),
    isRecorded,
  );
  await cards.check(
    places,
    given[0]!.map((_, i) => given.reduce((sum, values) => sum + values[i]!, 0)),
  );
}

async function gatherOver(cards: Cards, rows: number, widths: readonly number[], isRecorded: boolean): Promise<void> {
  const random = new Random(rows);
  const given = widths.map((width) => random.normals(rows * width, 0, 1));
  const width = widths.reduce((sum, each) => sum + each, 0);
  const wanted = Float32Array.from({ length: rows * width }, (_, i) =>
    valueAt(given, widths, Math.floor(i / width), i % width),
  );
  const empty = given.map(() => new Float32Array(wanted.length));
  const [parts, wholes, asides] = [cards.upload(given), cards.upload(empty), cards.upload(empty)];
  cards.hold(
    parts.map((part, i) => ({ kind: 'gather', rows, widths, part, whole: wholes[i]!, aside: asides[i]! })),
    isRecorded,
  );
  await cards.check(wholes, wanted);
}

function valueAt(parts: readonly Float32Array[], widths: readonly number[], row: number, column: number): number {
  let at = column;
  const card = widths.findIndex((width) => at < width || ((at -= width), false));
  return parts[card]![row * widths[card]! + at]!;
}

describe('exchanges between shards', () => {
  for (const [name, way] of Object.entries(WAYS)) {
    it(`${name}, are whole on each, whatever was exchanged before`, { skip: whyNot(way.indices) }, async () => {
      const cards = await Cards.open(way);
      const most = new Set<number>(way.indices).size === 1 ? MOST_ON_ONE_CARD : Infinity;
      try {
        for (const [i, count] of COUNTS.entries()) {
          const { rows, widths } = GATHERS[i % GATHERS.length]!;
          for (const isRecorded of [false, true]) {
            if (count <= most) await sumOver(cards, count, isRecorded);
            if (rows * widths[0] > most) continue;
            await gatherOver(cards, rows, widths.slice(0, way.indices.length), isRecorded);
          }
        }
      } finally {
        cards.dispose();
      }
      assert.deepEqual(liveHandles(), {});
    });
  }

  it(
    'leave sums to others that are large and of many cards, or no multiple of four',
    { skip: whyNot([0]) },
    async () => {
      const cards = await Cards.open(WAYS['in the memory of one card, of three']);
      for (const [address, count] of [
        [256n, 4_194_308],
        [256n, 6],
        [260n, 4],
      ] as const) {
        assert.equal(cards.way.hold([{ kind: 'sum', address, count }]), false);
      }
      cards.dispose();
    },
  );
});

/** What stands in the way of running with these cards; false where nothing does. */
function whyNot(indices: readonly number[]): string | false {
  try {
    const found = listDevices(loadCudaLibraries().driver);
    return found.length > Math.max(...indices) ? false : `there are ${found.length} cards`;
  } catch (error) {
    return String(error);
  }
}

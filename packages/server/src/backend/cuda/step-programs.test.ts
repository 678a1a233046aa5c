import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../../base/handles.ts';
import type { StepSegment } from '../step.ts';
import { anyRows, places } from './adapter-rows.arbitrary.ts';
import { CudaKvStore } from './kv-store.ts';
import { RecordedStep, type ShardGroup, type StepRequest, type StepShard } from './recorded-step.ts';
import type { RowDevice } from './row-operations.ts';
import { ShardedKvStore } from './shards/sharded-kv-store.ts';
import { StepGraph } from './step-graph.ts';
import { layOutStep, type StepLayout } from './step-layout.ts';
import { StepPrograms } from './step-programs.ts';
import { fillUp, shapedRows, shapeKey } from './step-shape.ts';
import { FakeDevice } from './testing/fake-device.ts';
import { makeSmallDecoder, SMALL_KV } from './testing/small-decoder.ts';

const forward = makeSmallDecoder();
const options = { reduce: true, keepHidden: false };

let fake: FakeDevice;
let kv: ShardedKvStore;
let group: ShardGroup;
let recordedCount: number;
let programs: StepPrograms;

beforeEach(() => {
  fake = new FakeDevice();
  kv = makeStore();
  recordedCount = 0;
  group = { shards: [{ stepArena: fake.arena, beginProgram, stepGraph }], collectives };
  programs = new StepPrograms(group);
});

afterEach(() => {
  programs.dispose();
  kv.dispose();
  fake.dispose();
  assert.deepEqual([fake.cuda.open, liveHandles()], [{}, {}]);
});

function makeStore(): ShardedKvStore {
  return new ShardedKvStore(SMALL_KV, [() => new CudaKvStore(fake.device, fake.stream, SMALL_KV)]);
}

function beginProgram(): RowDevice {
  recordedCount++;
  return fake.begin(places);
}

const stepGraph: StepShard['stepGraph'] = (device, inputs, store) => new StepGraph(device, inputs, store);
/** One shard meets nobody. */
const collectives = { finishesSums: false, hold: () => assert.fail('no meeting') };

function decode(rowCount: number, position = 7): StepSegment[] {
  return Array.from({ length: rowCount }, (_, i) => {
    return { tokens: [5], position, firstCell: 100 * i, adapters: [], outputCount: 1 };
  });
}

function request(segments: readonly StepSegment[], given: Partial<StepRequest> = {}): StepRequest {
  return { forward, kv, segments, options, ...given };
}

function liveGraphs(): number {
  return liveHandles()['cuda graph'] ?? 0;
}

const PARENTS = [-1, 0, 0, 1];
const draw = { temperature: 0.7, topK: 0, topP: 1, uniforms: [0.5] };

/** Rows that generate, some after guesses, some drawn. */
const anyDecode: fc.Arbitrary<StepSegment[]> = fc
  .tuple(
    anyRows,
    fc.array(
      fc.record({
        length: fc.constantFrom(1, 1, 1, 4),
        position: fc.nat(3000),
        isTree: fc.boolean(),
        isDrawn: fc.boolean(),
      }),
      { minLength: 1, maxLength: 4 },
    ),
  )
  .map(([{ rows }, kinds]) =>
    kinds.map(({ length, position, isTree, isDrawn }, i) => ({
      ...{ tokens: Array<number>(length).fill(3), position, firstCell: 4000 * i, outputCount: length },
      ...{ adapters: rows[i % Math.max(1, rows.length)] ?? [], draw: isDrawn ? draw : undefined },
      ...(isTree && length > 1 ? { parents: PARENTS } : {}),
    })),
  );

/** Its adapters as a backend of one shard has them. */
function onShards(segment: StepSegment): StepSegment {
  const adapters = segment.adapters.map(({ slot, weight }) => ({ slot: { ...slot, parts: [slot] }, weight }));
  return { ...segment, adapters };
}

/** All that a graph of the step would hold. */
function launchesOf(segments: readonly StepSegment[], layout: StepLayout): unknown {
  const [launchCount, productCount] = [fake.launches.length, fake.products.length];
  new RecordedStep(group, request(segments), [layout], false).runOnce('a test');
  return [fake.launches.slice(launchCount), fake.products.slice(productCount)];
}

describe('steps of one shape', () => {
  it('are the same launches, addresses and all', () => {
    // What it holds does not move then.
    fake.arena.reserve(2 ** 28, 'a test');
    const known = new Map<string, unknown>();
    let compared = 0;
    fc.assert(
      fc.property(anyDecode, (segments) => {
        const layout = layOutStep(fillUp(segments, shapedRows(segments)!, kv.spareCell));
        const key = shapeKey(layout, options);
        const launches = launchesOf(segments, layout);
        if (known.has(key)) compared++;
        assert.deepEqual(launches, known.get(key) ?? launches);
        known.set(key, launches);
        // What was recorded for the first of them has room for the inputs of all.
        programs.give(request(segments.map(onShards)));
      }),
      { numRuns: 300 },
    );
    assert.ok(compared > 50, `${compared} steps had the shape of another`);
  });

  it('are recorded once, and one launch from the second on', () => {
    const launched = [decode(9), decode(10, 50), decode(9, 800)].map((segments) => {
      const before = fake.launches.length;
      programs.give(request(segments));
      return fake.launches.length - before;
    });
    assert.ok(launched[0]! > 10);
    assert.deepEqual(launched.slice(1), [launched[0], 0]);
    assert.deepEqual([recordedCount, fake.countCalls('cuGraphLaunch')], [1, 2]);
  });

  it('have rows that fill them up in a cell that is nobody’s, behind the others', () => {
    const { layout } = programs.give(request(decode(17)));
    assert.deepEqual([...layout.cells.slice(17)], Array(3).fill(SMALL_KV.cellCount));
    assert.deepEqual([...layout.positions.slice(16)], [7, 0, 0, 0]);
    assert.deepEqual(layout.firstOutputs.slice(0, 17), [...Array(17).keys()]);
  });
});

describe('recorded steps', () => {
  it('are of one model and one store', () => {
    const other = makeStore();
    const given: Partial<StepRequest>[] = [{}, { forward: makeSmallDecoder() }, { kv: other }, {}];
    for (const which of given) for (let run = 0; run < 2; run++) programs.give(request(decode(2), which));
    assert.deepEqual([recordedCount, liveGraphs()], [4, 1]);
    other.dispose();
  });

  it('are forgotten with their graphs where there are too many shapes', () => {
    const trees = (rowCount: number): StepSegment[] => [
      ...decode(rowCount - 4),
      { ...decode(1)[0]!, tokens: [1, 2, 3, 4], parents: PARENTS, outputCount: 4 },
    ];
    const sizes = [5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96];
    const kinds = [decode, trees].flatMap((segmentsOf) =>
      [true, false].flatMap((reduce) =>
        [true, false].map((keepHidden) => ({ segmentsOf, options: { reduce, keepHidden } })),
      ),
    );
    for (const size of sizes) {
      for (const { segmentsOf, options: asked } of kinds) {
        for (let run = 0; run < 2; run++) programs.give(request(segmentsOf(size), { options: asked }));
      }
    }
    assert.equal(recordedCount, 8 * sizes.length);
    assert.equal(liveGraphs(), 128);
  });

  it('are not kept of prompts', () => {
    const prompt: StepSegment = { ...decode(1)[0]!, tokens: [1, 2, 3] };
    for (let run = 0; run < 3; run++) programs.give(request([prompt]));
    assert.deepEqual([recordedCount, fake.countCalls('cuGraphLaunch')], [3, 0]);
  });
});

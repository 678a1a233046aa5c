import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../../base/handles.ts';
import { NULL } from '../../native/ffi.ts';
import { oneSlot, type StepSegment, type WeightedSlot } from '../step.ts';
import { AdapterBank } from './adapter-bank.ts';
import { findRuns, type AdapterRun } from './adapter-products.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';
import { loadGgml } from './library.ts';
import type { AdapterGroup, RowSet } from './row-set.ts';
import { layOutStep } from './step-layout.ts';

const PATH = 'model.layers.0.self_attn.q_proj';

const device = { ggml: loadGgml().ggml, bufferType: NULL };
const banks = [0, 1].map((id) => new AdapterBank(device, id, [], 128, 'float32'));
after(() => {
  for (const bank of banks) bank.dispose();
  assert.deepEqual(liveHandles(), {});
});

function slot(bank: number, offset: number, rank: number): GgmlAdapterSlot {
  const entry = { rank, outputScale: undefined, outputBias: undefined, replacement: undefined };
  const entries = new Map([[PATH, entry]]);
  const nothing = { embeddings: new Map(), weights: new Map(), disposeOwned: () => undefined, byteLength: 0 };
  return { ...nothing, bank: banks[bank]!, offset, extent: rank, entries };
}

/** Neighbours of equal rank, one behind a gap, one of another rank, one that only replaces, and another bank. */
const SLOTS = [
  slot(0, 0, 4),
  slot(0, 4, 4),
  slot(0, 8, 4),
  slot(0, 16, 4),
  slot(0, 20, 8),
  slot(1, 0, 4),
  slot(1, 4, 0),
];

interface Row {
  readonly tokenCount: number;
  readonly outputCount: number;
  readonly adapters: readonly WeightedSlot[];
}

/** Mostly one as it was trained; none is the base, several are a merge. */
const adapters: fc.Arbitrary<readonly WeightedSlot[]> = fc.array(
  fc.record({ slot: fc.constantFrom(...SLOTS), weight: fc.constantFrom(1, 1, 1, 0.5) }),
  { maxLength: 3 },
);

const row: fc.Arbitrary<Row> = fc
  .record({ tokenCount: fc.integer({ min: 1, max: 3 }), adapters })
  .chain((given) => fc.record({ ...constants(given), outputCount: fc.nat(given.tokenCount) }));

const steps = fc.array(row, { minLength: 1, maxLength: 14 });

function constants<T extends object>(values: T): { [K in keyof T]: fc.Arbitrary<T[K]> } {
  const entries = Object.entries(values).map(([name, value]) => [name, fc.constant(value)]);
  return Object.fromEntries(entries) as { [K in keyof T]: fc.Arbitrary<T[K]> };
}

function segment({ tokenCount, outputCount, adapters }: Row, index: number): StepSegment {
  const tokens = Array.from({ length: tokenCount }, (_, i) => i);
  return { tokens, position: 0, firstCell: index * 10, adapters, outputCount };
}

describe('layOutStep', () => {
  it('gives each segment rows of its own, and each output the row of its token', () => {
    fc.assert(
      fc.property(steps, (rows) => {
        const layout = layOutStep(rows.map(segment));
        assert.deepEqual(layout.segments.map(({ index }) => index).sort(ascending), [...rows.keys()]);
        let firstRow = 0;
        let firstOutput = 0;
        for (const placed of layout.segments) {
          const { tokenCount, outputCount } = rows[placed.index]!;
          assert.deepEqual([placed.firstRow, placed.firstOutput], [firstRow, firstOutput]);
          firstRow += tokenCount;
          for (let output = 0; output < outputCount; output++) {
            assert.equal(layout.outputRows[firstOutput + output], firstRow - outputCount + output);
          }
          firstOutput += outputCount;
        }
        assert.equal(layout.rows.rowCount, firstRow);
        assert.equal(layout.outputs.rowCount, Math.max(1, firstOutput));
        assert.equal(layout.outputRows.length, layout.outputs.rowCount);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('merges neighbours with one adapter, and no others', () => {
    fc.assert(
      fc.property(steps, (rows) => {
        const layout = layOutStep(rows.map(segment));
        const wanted = layout.segments.map(({ index }) => rows[index]!);
        checkGroups(
          layout.rows,
          wanted.flatMap(({ tokenCount, adapters }) => Array.from({ length: tokenCount }, () => adapters)),
        );
        checkGroups(
          layout.outputs,
          wanted.flatMap(({ outputCount, adapters }) => Array.from({ length: outputCount }, () => adapters)),
        );
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it('puts bare rows first, then adapters by where they lie, then by arrival', () => {
    const order = [SLOTS[5], SLOTS[1], undefined, SLOTS[0], SLOTS[5], undefined];
    const layout = layOutStep(
      order.map((of, i) => segment({ tokenCount: 1, outputCount: 1, adapters: oneSlot(of) }, i)),
    );
    assert.deepEqual(
      layout.segments.map(({ index }) => index),
      [2, 5, 3, 1, 0, 4],
    );
  });

  it('ends a step of inner chunks in one row', () => {
    const layout = layOutStep([segment({ tokenCount: 3, outputCount: 0, adapters: oneSlot(SLOTS[0]) }, 0)]);
    assert.deepEqual([...layout.outputRows], [2]);
    assert.deepEqual(layout.outputs, { rowCount: 1, groups: [] });
  });
});

function checkGroups({ groups }: RowSet, wanted: readonly (readonly WeightedSlot[])[]): void {
  const seen: WeightedSlot[][] = wanted.map(() => []);
  let previous: AdapterGroup | undefined;
  for (const group of groups) {
    assert.ok(group.rowCount > 0);
    const { slot, weight } = group;
    const isNext = previous && previous.firstRow + previous.rowCount === group.firstRow;
    assert.ok(
      !(isNext && previous?.slot === slot && previous.weight === weight),
      'neighbours with one adapter are one',
    );
    for (let row = group.firstRow; row < group.firstRow + group.rowCount; row++) seen[row]!.push({ slot, weight });
    previous = group;
  }
  const named = (rows: readonly (readonly WeightedSlot[])[]) =>
    rows.map((row) => row.map(({ slot, weight }) => [SLOTS.indexOf(slot as GgmlAdapterSlot), weight]));
  assert.deepEqual(named(seen), named(wanted));
}

describe('findRuns', () => {
  it('splits the groups, in order, into runs that one batched product can cover', () => {
    fc.assert(
      fc.property(steps, (rows) => {
        const { groups } = layOutStep(rows.map(segment)).rows;
        const ranked = groups.filter((group) => rankOf(group) > 0);
        let at = 0;
        for (const run of findRuns(groups, PATH)) {
          checkRun(run, ranked.slice(at, at + run.count));
          at += run.count;
        }
        assert.equal(at, ranked.length);
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  it('joins as many neighbours as have the same step between them', () => {
    const groups = (...slots: number[]): AdapterGroup[] =>
      layOutStep(
        slots.map((of, i) => segment({ tokenCount: 2, outputCount: 1, adapters: oneSlot(SLOTS[of]) }, i)),
      ).rows.groups.slice();
    const shapes = (...slots: number[]): number[][] =>
      findRuns(groups(...slots), PATH).map(({ count, rank, stride }) => [count, rank, stride]);
    assert.deepEqual(shapes(0, 1, 2), [[3, 4, 4]]);
    assert.deepEqual(shapes(0, 2, 3), [[3, 4, 8]]);
    assert.deepEqual(shapes(0, 1, 3), [
      [2, 4, 4],
      [1, 4, 4],
    ]);
    assert.deepEqual(shapes(3, 4, 5), [
      [1, 4, 4],
      [1, 8, 8],
      [1, 4, 4],
    ]);
    assert.deepEqual(shapes(5, 6), [[1, 4, 4]]);
  });

  it('does not join groups with another number of rows or weight, or with rows between them', () => {
    const first = { slot: SLOTS[0]!, weight: 1, firstRow: 0, rowCount: 2 };
    assert.equal(findRuns([first, { slot: SLOTS[1]!, weight: 1, firstRow: 2, rowCount: 1 }], PATH).length, 2);
    assert.equal(findRuns([first, { slot: SLOTS[1]!, weight: 1, firstRow: 3, rowCount: 2 }], PATH).length, 2);
    assert.equal(findRuns([first, { slot: SLOTS[1]!, weight: 1, firstRow: 2, rowCount: 2 }], PATH).length, 1);
    assert.equal(findRuns([first, { slot: SLOTS[1]!, weight: 0.5, firstRow: 2, rowCount: 2 }], PATH).length, 2);
  });
});

function checkRun({ first, count, rank, stride }: AdapterRun, groups: readonly AdapterGroup[]): void {
  assert.equal(groups.length, count);
  assert.ok(stride >= rank, 'the rank rows of two adapters do not overlap');
  for (const [i, group] of groups.entries()) {
    assert.equal(group.slot.bank, first.slot.bank);
    assert.equal(group.weight, first.weight);
    assert.equal(rankOf(group), rank);
    assert.equal(group.rowCount, first.rowCount);
    assert.equal(group.firstRow, first.firstRow + i * first.rowCount);
    assert.equal(group.slot.offset, first.slot.offset + i * stride);
  }
}

function rankOf({ slot: { entries } }: AdapterGroup): number {
  return entries.get(PATH)!.rank;
}

function ascending(a: number, b: number): number {
  return a - b;
}

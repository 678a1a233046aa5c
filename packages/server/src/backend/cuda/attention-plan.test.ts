import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { StepSegment } from '../step.ts';
import {
  planAttention,
  roomFor,
  TILE_INTS,
  TILE_ROWS,
  type AttentionPlan,
  type PlanOptions,
} from './attention-plan.ts';
import { MOST_PARTS, SHARE_INTS } from './attention-shares.ts';

const WHOLE: PlanOptions = { window: undefined, blocksPerShare: 8, enoughBlocks: 528, usesTiles: false };

/** The steps that the plans below are for: prompts, single tokens, guesses in a row and in trees, over short and long contexts. */
const segment = fc
  .record({
    parents: fc.oneof(
      fc.array(fc.nat(), { maxLength: 8 }),
      fc.integer({ min: 0, max: 300 }).map((length) => Array.from({ length }, (_, i) => i)),
    ),
    isTree: fc.boolean(),
    position: fc.oneof(fc.nat(9), fc.nat(1500)),
  })
  .map(({ parents, isTree, position }): StepSegment => {
    const followed = [-1, ...parents.map((parent, i) => parent % (i + 1))];
    const rest = { position, firstCell: 30, adapters: [], outputCount: 0, tokens: followed };
    return isTree && followed.length <= 9 ? { ...rest, parents: followed } : rest;
  });
const segments = fc.array(segment, { minLength: 1, maxLength: 6 });
const options = fc.record({
  window: fc.option(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 1000 })), { nil: undefined }),
  blocksPerShare: fc.integer({ min: 1, max: 600 }),
  enoughBlocks: fc.integer({ min: 1, max: 600 }),
  usesTiles: fc.boolean(),
});

function chain(tokenCount: number, position: number, firstCell = 0): StepSegment {
  return { tokens: Array.from({ length: tokenCount }, () => 1), position, firstCell, adapters: [], outputCount: 1 };
}

describe('the plan of attention', () => {
  it('gives a row of a tree the cells before the tree, and its branch', () => {
    const tree = { ...chain(4, 2, 50), parents: [-1, 0, 0, 2] };
    const seen = cellsByRow(planAttention([tree], WHOLE), Infinity)[3];
    assert.deepEqual(seen, [50, 51, 52, 54, 55]);
  });

  it('lets each row see what it follows, within its window, once', () => {
    fc.assert(
      fc.property(segments, options, (given, chosen) => {
        const seen = cellsByRow(planAttention(given, chosen), chosen.window ?? Infinity);
        const expected = given.flatMap((one) => one.tokens.map((_, row) => followed(one, row, chosen.window)));
        assert.deepEqual(seen, expected);
      }),
    );
  });

  it('says which cells were there before the step: those before the segment', () => {
    fc.assert(
      fc.property(segments, options, (given, chosen) => {
        const plan = planAttention(given, chosen);
        const ofRows = given.flatMap((one) => one.tokens.map(() => one));
        for (const share of sharesOf(plan.shares).filter(([row]) => row >= 0)) {
          const { firstCell, position } = ofRows[share[0]]!;
          const isOld = cellsOf(share, plan.list).map((cell) => cell < firstCell + position);
          assert.deepEqual(isOld, [...Array(share[2]).fill(true), ...Array(share[3]).fill(false)]);
        }
      }),
    );
  });

  it('keeps to its room', () => {
    fc.assert(
      fc.property(segments, options, (given, chosen) => {
        const { shares, tiles } = planAttention(given, chosen);
        const { shareCount, partCount, tileCount } = roomFor(given, chosen);
        assert.deepEqual([shares.length / SHARE_INTS, tiles.length / TILE_INTS], [shareCount, tileCount]);
        const parts = sharesOf(shares).filter(([row, , , , , , , ofRow]) => row >= 0 && ofRow > 1);
        const slots = parts.map(([, , , , , part]) => part);
        assert.equal(new Set(slots).size, slots.length);
        for (const [, , , , , part, firstPart, ofRow] of parts) {
          assert.ok(firstPart <= part && part < firstPart + ofRow && firstPart + ofRow <= partCount);
          assert.ok(ofRow <= MOST_PARTS);
        }
      }),
    );
  });

  it('takes as much room for other steps of as many rows', () => {
    fc.assert(
      fc.property(segments, options, fc.nat(100_000), (given, chosen, position) => {
        const untiled = { ...chosen, usesTiles: false };
        const rows = given.flatMap(({ tokens }) => tokens.map(() => chain(1, position)));
        assert.deepEqual(roomFor(given, untiled), roomFor(rows, untiled));
      }),
    );
  });

  it('fills a device with one row of a long context, and cuts one of a short context less', () => {
    assert.equal(usedShares([chain(1, 32_767)], WHOLE).length, MOST_PARTS);
    assert.equal(usedShares([chain(1, 511)], WHOLE).length, 8);
    assert.equal(usedShares([chain(1, 20)], WHOLE).length, 1);
  });

  it('cuts a long row among many short ones', () => {
    const rows = [...Array.from({ length: 100 }, () => chain(1, 99)), chain(1, 9999)];
    const longest = Math.max(...usedShares(rows, WHOLE).map(([, , oldCount, newCount]) => oldCount + newCount));
    assert.ok(longest <= 320, `a share of ${longest} cells`);
  });

  it('gives prompts to tiles where there may be tiles, the longest work first, and rows beside them to shares', () => {
    const { tiles } = planAttention([chain(200, 0), chain(1, 40)], { ...WHOLE, usesTiles: true });
    assert.deepEqual(
      [...tiles],
      [
        [128, 72, 0, 128],
        [0, 128, 0, 0],
      ].flat(),
    );
    const rows = usedShares([chain(200, 0), chain(1, 40)], { ...WHOLE, usesTiles: true }).map(([row]) => row);
    assert.deepEqual(rows, [200]);
    assert.equal(planAttention([chain(200, 0)], WHOLE).tiles.length, 0);
  });

  it('has no shares where tiles hold all rows', () => {
    const room = roomFor([chain(200, 0)], { ...WHOLE, usesTiles: true });
    assert.deepEqual(room, { shareCount: 0, partCount: 0, tileCount: 2 });
  });
});

type ShareRow = [number, number, number, number, number, number, number, number];

function sharesOf(shares: Int32Array): ShareRow[] {
  return Array.from({ length: shares.length / SHARE_INTS }, (_, i) => {
    return [...shares.subarray(i * SHARE_INTS, (i + 1) * SHARE_INTS)] as ShareRow;
  });
}

function usedShares(given: readonly StepSegment[], chosen: PlanOptions): ShareRow[] {
  return sharesOf(planAttention(given, chosen).shares).filter(([row]) => row >= 0);
}

/** As the kernel reads the tables. */
function cellsOf([, first, oldCount, newCount, listStart]: ShareRow, list: Int32Array): number[] {
  const isNeighbour = (i: number): boolean => i < oldCount || listStart < 0;
  return Array.from({ length: oldCount + newCount }, (_, i) =>
    isNeighbour(i) ? first + i : list[listStart + i - oldCount]!,
  );
}

/** As the kernels read the tables: in ascending order, as often as they are seen. */
function cellsByRow({ shares, list, tiles }: AttentionPlan, window: number): number[][] {
  const cells: number[][] = [];
  for (const share of sharesOf(shares)) {
    if (share[0] >= 0) (cells[share[0]] ??= []).push(...cellsOf(share, list));
  }
  for (let at = 0; at < tiles.length; at += TILE_INTS) {
    const [row, rowCount, first, before] = tiles.subarray(at) as unknown as [number, number, number, number];
    assert.ok(rowCount <= TILE_ROWS);
    for (let i = 0; i < rowCount; i++) {
      const seen = (cells[row + i] ??= []);
      for (let cell = Math.max(0, before + i - window + 1); cell <= before + i; cell++) seen.push(first + cell);
    }
  }
  return cells.map((seen) => seen.toSorted((a, b) => a - b));
}

/** The last `window` of the row's tokens, by walking back one at a time. */
function followed({ tokens, parents, position, firstCell }: StepSegment, row: number, window = Infinity): number[] {
  const chained = parents ?? tokens.map((_, i) => i - 1);
  const cells: number[] = [];
  for (let at = row; at >= 0; at = chained[at]!) cells.push(firstCell + position + at);
  for (let before = position - 1; before >= 0; before--) cells.push(firstCell + before);
  return cells.slice(0, window).toSorted((a, b) => a - b);
}

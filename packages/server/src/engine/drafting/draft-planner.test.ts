import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { guessesOf } from '../../testing/guesses.ts';
import { Acceptance } from './acceptance.ts';
import { mayPay, planDrafts, type PlannedStep } from './draft-planner.ts';
import type { DraftRoom } from './draft-room.ts';
import { DraftTree } from './draft-tree.ts';
import { Pace } from './pace.ts';
import { StepCost } from './step-cost.ts';

/** Steps of 1 to 60 rows that cost so much each. */
function costOf(msOf: (rowCount: number) => number): StepCost {
  const cost = new StepCost(new Pace());
  for (let rowCount = 1; rowCount <= 60; rowCount++) {
    for (let times = 0; times < 2; times++) cost.learn(rowCount, msOf(rowCount));
  }
  return cost;
}

/** Chains and trees of sequences that accept more or less. */
const sequence = fc.record({
  chances: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }),
  candidates: fc.integer({ min: 1, max: 3 }),
  most: fc.integer({ min: 0, max: 6 }),
});
type Sequence = typeof sequence extends fc.Arbitrary<infer S> ? S : never;

function roomOf({ chances, candidates, most }: Sequence): DraftRoom {
  const acceptance = new Acceptance();
  const guesses = guessesOf(chances.map(() => Array.from({ length: candidates }, (_, rank) => rank)));
  for (let step = 0; step < 40; step++) {
    const wrong = chances.findIndex((chance) => (step * 7) % 40 >= chance * 40);
    acceptance.learn(guesses, wrong < 0 ? chances.map(() => 0) : [...chances.slice(0, wrong).map(() => 0), step % 5]);
  }
  return { tree: new DraftTree(guesses, acceptance), most, isFree: false };
}

const situation = fc.record({
  sequences: fc.array(sequence, { minLength: 1, maxLength: 5 }),
  others: fc.integer({ min: 0, max: 10 }),
  mostRows: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 30 })),
  perRow: fc.double({ min: 0, max: 5, noNaN: true }),
  overheadMs: fc.double({ min: 0, max: 10, noNaN: true }),
});
type Situation = typeof situation extends fc.Arbitrary<infer S> ? S : never;

function stepOf({ sequences, others, mostRows, perRow, overheadMs }: Situation): PlannedStep {
  const count = sequences.length + others;
  return {
    rowCount: count,
    tokenCount: count,
    mostRows,
    cost: costOf((rows) => 5 + perRow * rows),
    headMs: () => overheadMs,
  };
}

/** The scores of all tokens that could be drafted, the greatest first. */
function allScores(rooms: readonly DraftRoom[]): number[] {
  const scores = rooms.flatMap(({ tree, most }) => {
    const own: number[] = [];
    while (own.length < most && tree.nextScore > 0) {
      own.push(tree.nextScore);
      tree.grow();
    }
    return own;
  });
  return scores.sort((a, b) => b - a);
}

describe('planDrafts', () => {
  it('stays within what each sequence and the step may have', () => {
    fc.assert(
      fc.property(situation, (of) => {
        const step = stepOf(of);
        const { counts } = planDrafts(of.sequences.map(roomOf), step);
        for (const [i, count] of counts.entries()) assert.ok(count >= 0 && count <= of.sequences[i]!.most);
        const drafted = counts.reduce((sum, count) => sum + count, 0);
        assert.ok(drafted === 0 || step.rowCount + drafted <= step.mostRows);
      }),
    );
  });

  it('takes the most promising tokens, as many as give the most tokens per time', () => {
    fc.assert(
      fc.property(situation, (of) => {
        const step = stepOf(of);
        const { overheadMs } = of;
        const { counts } = planDrafts(of.sequences.map(roomOf), step);
        const drafted = counts.reduce((sum, count) => sum + count, 0);
        const scores = allScores(of.sequences.map(roomOf)).slice(0, Math.max(0, step.mostRows - step.rowCount));
        const bare = step.tokenCount / step.cost.estimate(step.rowCount)!;
        const speed = (count: number): number => {
          const tokens = step.tokenCount + scores.slice(0, count).reduce((sum, score) => sum + score, 0);
          return tokens / (step.cost.estimate(step.rowCount + count)! + overheadMs);
        };
        const best = Math.max(0, ...scores.map((_, i) => speed(i + 1)));
        if (drafted === 0) assert.ok(best <= bare * 1.1 + 1e-9, 'drafting would have paid');
        else assert.ok(speed(drafted) > bare * 1.1 - 1e-9 && speed(drafted) >= best - 1e-9);
      }),
    );
  });

  it('drafts only where it may pay at all', () => {
    fc.assert(
      fc.property(situation, (of) => {
        const step = { ...stepOf(of), headMs: () => 0 };
        const hopes = of.sequences.map(roomOf).map(({ tree, most }) => ({ chance: tree.nextScore, most }));
        const { counts } = planDrafts(of.sequences.map(roomOf), step);
        assert.ok(mayPay(hopes, step) || counts.every((count) => count === 0));
      }),
    );
    const [hope, step] = [
      { chance: 0.5, most: 6 },
      { rowCount: 1, tokenCount: 1, mostRows: Infinity },
    ];
    assert.ok(!mayPay([hope, hope], { ...step, cost: costOf((rows) => 10 * rows) }));
    assert.ok(mayPay([hope, hope], { ...step, cost: costOf(() => 10) }));
    assert.ok(!mayPay([], { ...step, cost: costOf(() => 10) }));
  });

  it('drafts nothing where each row costs as much as a step', () => {
    const room = { chances: [0.95, 0.95], candidates: 1, most: 6 };
    const step = { rowCount: 1, tokenCount: 1, mostRows: Infinity, cost: costOf((rows) => 10 * rows), headMs: () => 0 };
    assert.deepEqual(planDrafts([roomOf(room)], step).counts, [0]);
    assert.deepEqual(planDrafts([roomOf(room)], { ...step, cost: costOf(() => 10) }).counts, [2]);
  });

  it('drafts nothing while no step’s cost is known', () => {
    const room = roomOf({ chances: [1, 1], candidates: 1, most: 6 });
    const step = { rowCount: 1, tokenCount: 1, mostRows: Infinity, cost: new StepCost(new Pace()), headMs: () => 0 };
    assert.deepEqual(planDrafts([room], step).counts, [0]);
  });

  it('goes no farther ahead than what another head costs', () => {
    const planned = (headMs: PlannedStep['headMs']) => {
      const rooms = [0.9, 0.9].map((chance) => roomOf({ chances: [chance, 0.5], candidates: 2, most: 6 }));
      const step = { rowCount: 2, tokenCount: 2, mostRows: Infinity, cost: costOf((rows) => 10 + 0.1 * rows) };
      return planDrafts(rooms, { ...step, headMs });
    };
    assert.deepEqual(planned(() => 1).placeCounts, [2, 2]);
    assert.deepEqual(planned((placeCount) => (placeCount > 2 ? 100 : 1)).placeCounts, [1, 1]);
  });

  it('asks no head for guesses that are there already', () => {
    const [free, asked] = [0.9, 0.9].map((chance) => roomOf({ chances: [chance], candidates: 1, most: 6 }));
    const headMs = (placeCount: number): number => 100 * placeCount;
    const step = { rowCount: 2, tokenCount: 2, mostRows: Infinity, cost: costOf((rows) => 10 + 0.1 * rows), headMs };
    const { counts, placeCounts } = planDrafts([{ ...free!, isFree: true }, asked!], step);
    assert.deepEqual(counts, [1, 0]);
    assert.deepEqual(placeCounts, [0, 0]);
  });

  it('gives the rows there are to those who accept the most', () => {
    const rooms = [0.3, 0.9].map((chance) => roomOf({ chances: [chance, chance], candidates: 1, most: 6 }));
    const step = { rowCount: 2, tokenCount: 2, mostRows: 4, cost: costOf(() => 10), headMs: () => 0 };
    assert.deepEqual(planDrafts(rooms, step).counts, [0, 2]);
  });
});

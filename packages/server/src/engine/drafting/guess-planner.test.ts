import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DraftingCosts } from './drafting-costs.ts';
import { Experience } from './experience.ts';
import { GuessPlanner, type GuessPosition } from './guess-planner.ts';
import { SETTLED_STEPS } from './step-cost.ts';

const STEP = { rowCount: 1, tokenCount: 1 };
const FEW_PLACES = 3;

function learnSteps({ ofSteps }: DraftingCosts, msOf: (rowCount: number) => number): void {
  for (let rowCount = 1; rowCount <= 8; rowCount++) {
    for (let times = 0; times < SETTLED_STEPS; times++) ofSteps.learn(rowCount, msOf(rowCount));
  }
}

function costsOf(msOf: (rowCount: number) => number): DraftingCosts {
  const costs = new DraftingCosts(1);
  learnSteps(costs, msOf);
  for (let times = 0; times < SETTLED_STEPS; times++) costs.ofHeads.get(1)!.learn(1, 0.1);
  return costs;
}

/** Its heads are right six times of ten, as is assumed of heads that nobody knows yet. */
function position(): GuessPosition {
  const drafter = { headPlaces: FEW_PLACES, guesses: { heads: [], lookback: [] }, sequence: { draftRoom: 8 } };
  return { drafter, experience: new Experience(0) };
}

describe('GuessPlanner', () => {
  it('wants the guesses of heads where rows are cheap, at every step', () => {
    const planner = new GuessPlanner(
      costsOf((rowCount) => 10 + 0.1 * rowCount),
      Infinity,
    );
    for (let step = 0; step < 40; step++) assert.ok(planner.plan([position()], STEP).headCounts[0]! > 0);
  });

  it('never wants more than fit the largest step', () => {
    const planner = new GuessPlanner(
      costsOf(() => 10),
      2,
    );
    assert.deepEqual(planner.plan([position()], STEP).headCounts, [1]);
  });

  it('does not reckon with heads in vain for some steps, and then for twice as many', () => {
    const costs = costsOf((rowCount) => 10 ** rowCount);
    const planner = new GuessPlanner(costs, Infinity);
    const wants = (): boolean => planner.plan([position()], STEP).headCounts[0]! > 0;
    for (let step = 0; step < 1 + 16 + 1; step++) assert.ok(!wants());
    learnSteps(costs, () => 10);
    const wanted = Array.from({ length: 40 }, wants);
    assert.equal(wanted.indexOf(true), 32);
    assert.ok(wanted.slice(32).every(Boolean));
  });

  it('counts by the number of sequences, of which others may pay', () => {
    const costs = costsOf((rowCount) => (rowCount === 1 ? 1 : 10));
    const planner = new GuessPlanner(costs, Infinity);
    assert.deepEqual(planner.plan([position()], STEP).headCounts, [0]);
    const two = planner.plan([position(), position()], { rowCount: 2, tokenCount: 2 });
    assert.ok(two.headCounts.every((count) => count > 0));
  });
});

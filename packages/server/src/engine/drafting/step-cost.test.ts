import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Pace } from './pace.ts';
import { SETTLED_STEPS, StepCost } from './step-cost.ts';

const step = fc.record({
  rowCount: fc.integer({ min: 1, max: 300 }),
  ms: fc.double({ min: 0.01, max: 1000, noNaN: true }),
});

/** As often as is needed until a size is known. */
function learnt(costs: Readonly<Record<number, number>>): StepCost {
  const cost = new StepCost(new Pace());
  for (const [rowCount, ms] of Object.entries(costs)) {
    for (let times = 0; times < SETTLED_STEPS; times++) cost.learn(Number(rowCount), ms);
  }
  return cost;
}

describe('StepCost', () => {
  it('knows nothing before it has seen a size twice', () => {
    const cost = new StepCost(new Pace());
    assert.equal(cost.estimate(1), undefined);
    cost.learn(1, 10);
    assert.equal(cost.estimate(1), undefined);
    cost.learn(1, 10);
    assert.equal(cost.estimate(1), 10);
  });

  it('never says that more rows cost less, whatever it saw', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 60 }), (steps) => {
        const cost = new StepCost(new Pace());
        for (const { rowCount, ms } of steps) cost.learn(rowCount, ms);
        let last = 0;
        for (let rowCount = 1; rowCount <= 400; rowCount++) {
          const ms = cost.estimate(rowCount) ?? last;
          assert.ok(Number.isFinite(ms) && ms >= last - 1e-9, `${rowCount} rows: ${ms} after ${last}`);
          last = ms;
        }
      }),
    );
  });

  it('follows what steps cost', () => {
    const cost = learnt({ 4: 10 });
    for (let times = 0; times < 60; times++) cost.learn(4, 15);
    assert.ok(Math.abs(cost.estimate(4)! - 15) < 0.1);
  });

  it('is not misled by a step that was disturbed, be it the first of its size', () => {
    const cost = new StepCost(new Pace());
    cost.learn(4, 500);
    for (let times = 0; times < 5; times++) cost.learn(4, 10);
    assert.equal(cost.estimate(4), 10);
    cost.learn(2, 8);
    cost.learn(2, 8);
    cost.learn(4, 500);
    assert.ok(cost.estimate(4)! / cost.estimate(2)! <= 11 / 8);
  });

  it('keeps what sizes cost beside each other while the machine is slow, though it sees but one of them then', () => {
    const cost = learnt({ 1: 10, 4: 16 });
    for (let times = 0; times < 300; times++) cost.learn(1, 15);
    assert.ok(Math.abs(cost.estimate(1)! - 15) < 0.1);
    assert.ok(Math.abs(cost.estimate(4)! / cost.estimate(1)! - 1.6) < 0.15);
  });

  it('learns two sizes apart though the machine is slow for both now and then', () => {
    const cost = learnt({ 1: 10, 4: 16 });
    for (let times = 0; times < 600; times++) {
      const slow = times % 100 < 50 ? 2 : 1;
      cost.learn(times % 5 === 0 ? 1 : 4, (times % 5 === 0 ? 10 : 30) * slow);
    }
    assert.ok(Math.abs(cost.estimate(4)! / cost.estimate(1)! - 3) < 0.3, String(cost.estimate(4)! / cost.estimate(1)!));
  });

  it('takes a size that is slow every other time for what its steps take on the whole', () => {
    const cost = learnt({ 4: 10 });
    for (let times = 0; times < 100; times++) cost.learn(4, times % 2 === 0 ? 10 : 19);
    assert.ok(Math.abs(cost.estimate(4)! - 14.5) < 1);
  });

  it('takes the line between the sizes that it knows, and goes on with it beyond them', () => {
    const cost = learnt({ 2: 10, 6: 30 });
    assert.equal(cost.estimate(1), 10);
    assert.equal(cost.estimate(4), 20);
    assert.equal(cost.estimate(12), 60);
  });

  it('hopes where it knows a single size', () => {
    const cost = learnt({ 6: 30 });
    assert.ok(cost.estimate(12)! > 30 && cost.estimate(12)! < 36, 'far less than twice as much');
  });

  it('hopes again for a size that was slow and has not come back for long', () => {
    const cost = learnt({ 1: 10, 4: 100 });
    assert.equal(cost.estimate(4), 100);
    for (let times = 0; times < 1001; times++) cost.learn(1, 10);
    assert.ok(cost.estimate(4)! < 15);
  });
});

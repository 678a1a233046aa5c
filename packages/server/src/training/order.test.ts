import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { learningRate, type RatePlan } from './learning-rate.ts';
import { shuffled, split } from './order.ts';

const sorted = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b);
const counts = fc.integer({ min: 1, max: 200 });
const seeds = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('the order of samples', () => {
  it('is a permutation that depends on the seed and the epoch alone', () => {
    fc.assert(
      fc.property(counts, seeds, fc.nat(1000), (count, seed, epoch) => {
        const order = shuffled(count, seed, epoch);
        assert.deepEqual(
          sorted(order),
          Array.from({ length: count }, (_, i) => i),
        );
        assert.deepEqual(shuffled(count, seed, epoch), order);
      }),
    );
    assert.notDeepEqual(shuffled(50, 1n, 0), shuffled(50, 1n, 1));
    assert.notDeepEqual(shuffled(50, 1n, 0), shuffled(50, 2n, 0));
  });

  it('is fair: every sample comes to every place about as often', () => {
    const firsts = Array.from({ length: 6 }, () => 0);
    for (let epoch = 0; epoch < 6000; epoch++) firsts[shuffled(6, 5n, epoch)[0]!]!++;
    for (const count of firsts) assert.ok(Math.abs(count - 1000) < 150, `${count} of 6000`);
  });

  it('every sample is learnt or kept for evaluation, never both', () => {
    fc.assert(
      fc.property(counts, fc.double({ min: 0, max: 0.9, noNaN: true }), seeds, (count, share, seed) => {
        const { training, evaluation } = split(count, share, seed);
        assert.deepEqual(
          sorted([...training, ...evaluation]),
          Array.from({ length: count }, (_, i) => i),
        );
        assert.ok(training.length > 0);
        if (share === 0) assert.equal(evaluation.length, 0);
        else if (count > 1) assert.ok(evaluation.length > 0);
      }),
    );
  });
});

describe('the learning rate', () => {
  const plan: RatePlan = { peak: 0.1, schedule: 'cosine', updateCount: 110, warmupRatio: 10 / 110 };
  const rates = (changed: Partial<RatePlan> = {}): number[] =>
    Array.from({ length: 110 }, (_, index) => learningRate({ ...plan, ...changed }, index));

  it('rises evenly to its peak, then falls as the schedule says', () => {
    const cosine = rates();
    assert.deepEqual(
      cosine.slice(0, 10).map((rate) => Math.round(rate * 1100)),
      [10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
    );
    assert.equal(cosine[10], 0.1);
    assert.ok(Math.abs(cosine[60]! - 0.05) < 1e-12);
    assert.ok(cosine[109]! < 1e-4 && cosine[109]! > 0);
    assert.ok(Math.abs(rates({ schedule: 'linear' })[35]! - 0.075) < 1e-12);
    assert.ok(
      rates({ schedule: 'constant_with_warmup' })
        .slice(10)
        .every((rate) => rate === 0.1),
    );
  });

  it('is at its peak at once without warm-up', () => {
    assert.equal(rates({ warmupRatio: 0 })[0], 0.1);
  });
});

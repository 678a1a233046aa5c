import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { guessesOf } from '../../testing/guesses.ts';
import { Random } from '../../testing/random.ts';
import { Acceptance } from './acceptance.ts';

const RANKS = guessesOf([[0, 1, 2]]);

/** Mean of the learnt rate over the second half of so many steps in which rank 0 was right with this chance. */
function learntRate(acceptance: Acceptance, chance: number, seed: number, steps = 1000): number {
  const random = new Random(seed);
  let sum = 0;
  for (let step = 0; step < steps; step++) {
    acceptance.learn(RANKS, [random.next() < chance ? 0 : 9]);
    if (step >= steps / 2) sum += acceptance.rate(0, 0);
  }
  return sum / (steps / 2);
}

describe('Acceptance', () => {
  it('learns how often guesses are right', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(), (chance, seed) => {
        assert.ok(Math.abs(learntRate(new Acceptance(), chance, seed) - chance) < 0.12);
      }),
    );
  });

  it('forgets what was before', () => {
    const acceptance = new Acceptance();
    for (const chance of [0.9, 0.1, 0.6]) {
      assert.ok(Math.abs(learntRate(acceptance, chance, 1) - chance) < 0.12);
    }
  });

  it('gives up its first hopes within a few steps', () => {
    const acceptance = new Acceptance();
    for (let step = 0; step < 10; step++) acceptance.learn(guessesOf([[0]]), [9]);
    assert.ok(acceptance.rate(0, 0) < 0.25);
  });

  it('stays a share, and learns only where the truth is known', () => {
    const guesses = fc.array(fc.array(fc.nat(5), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 });
    const steps = fc.array(fc.tuple(guesses, fc.array(fc.nat(5), { maxLength: 6 })), { maxLength: 50 });
    fc.assert(
      fc.property(steps, (all) => {
        const [acceptance, fresh] = [new Acceptance(), new Acceptance()];
        let known = 0;
        for (const [of, truth] of all) {
          acceptance.learn(guessesOf(of), truth);
          known = Math.max(known, Math.min(of.length, truth.length));
        }
        for (let place = 0; place < 6; place++) {
          for (let rank = 0; rank < 4; rank++) {
            const rate = acceptance.rate(place, rank);
            assert.ok(rate >= 0 && rate <= 1);
            if (place >= known) assert.equal(rate, fresh.rate(place, rank));
          }
        }
      }),
    );
  });

  it('learns nothing of what was guessed behind a place that was wrong', () => {
    const acceptance = new Acceptance();
    const before = acceptance.rate(1, 0);
    for (let step = 0; step < 20; step++) acceptance.learn(guessesOf([[1], [2]]), [9, 2]);
    assert.equal(acceptance.rate(1, 0), before);
    acceptance.learn(guessesOf([[1, 9], [2]]), [9, 2]);
    assert.ok(acceptance.rate(1, 0) > before, 'behind a second guess that was right it does');
  });

  it('tells ranks and places apart', () => {
    const acceptance = new Acceptance();
    const guesses = guessesOf([
      [1, 2],
      [3, 4],
    ]);
    for (let step = 0; step < 200; step++) acceptance.learn(guesses, [2, 3]);
    const rates = [0, 1].flatMap((place) => [0, 1].map((rank) => acceptance.rate(place, rank)));
    assert.deepEqual(
      rates.map((rate) => Math.round(rate)),
      [0, 1, 1, 0],
    );
  });

  it('believes how sure a guess is, until it learns better', () => {
    const acceptance = new Acceptance();
    const chanceOf = (confidence: number): number => acceptance.chance(0, 0, { token: 1, confidence });
    for (const confidence of [0.02, 0.3, 0.5, 0.9, 0.99]) {
      assert.ok(Math.abs(chanceOf(confidence) - confidence) < 0.07, `${chanceOf(confidence)}`);
    }
    for (let step = 0; step < 200; step++) {
      acceptance.learn(guessesOf([[1]], 0.9), [2]);
      acceptance.learn(guessesOf([[1]], 0.3), [1]);
    }
    assert.ok(chanceOf(0.9) < 0.1 && chanceOf(0.3) > 0.9);
    assert.ok(chanceOf(0.02) < 0.1, 'others are believed as before');
  });

  it('believes a confidence less that it has not met where others promised too much', () => {
    const acceptance = new Acceptance();
    for (let step = 0; step < 20; step++) acceptance.learn(guessesOf([[1]], 0.5), [step % 5 === 0 ? 1 : 2]);
    const chance = acceptance.chance(0, 0, { token: 1, confidence: 0.9 });
    assert.ok(chance > 0.35 && chance < 0.5, `${chance}`);
  });

  it('gives what is no confidence no chance to be drafted, and certainty one', () => {
    const chanceOf = (confidence: number): number => new Acceptance().chance(0, 0, { token: 1, confidence });
    assert.ok(!(chanceOf(NaN) > 0));
    assert.ok(chanceOf(0) < 0.01 && chanceOf(1) > 0.99);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { NgramGuesser } from './ngram-guesser.ts';

/** Few different tokens, so that there are matches of every length. */
const tokens = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 });
const count = fc.integer({ min: 0, max: 8 });

/** By definition: matches of 2 to 12 tokens, the longest, then the most recent. */
function expected(of: readonly number[], most: number): number[][] {
  for (let length = Math.min(12, of.length - 1); length >= 2; length--) {
    const ending = of.slice(-length).join();
    for (let end = of.length - 1; end >= length; end--) {
      if (of.slice(end - length, end).join() !== ending) continue;
      const repeated = Array.from({ length: most }, () => of.slice(end)).flat();
      return repeated.slice(0, most).map((token) => [token]);
    }
  }
  return [];
}

function tokensOf(of: readonly number[], most: number): number[][] {
  return new NgramGuesser(of).guess(most).map((ranked) => ranked.map(({ token }) => token));
}

describe('NgramGuesser', () => {
  it('guesses what followed the longest match, and of several the most recent', () => {
    fc.assert(fc.property(tokens, count, (of, most) => assert.deepEqual(tokensOf(of, most), expected(of, most))));
  });

  it('guesses the same as a list grows', () => {
    fc.assert(
      fc.property(tokens, fc.array(fc.integer({ min: 1, max: 5 })), (of, strides) => {
        const growing: number[] = [];
        const guesser = new NgramGuesser(growing);
        for (const stride of strides) {
          growing.push(...of.slice(growing.length, growing.length + stride));
          assert.deepEqual(guesser.guess(4), new NgramGuesser([...growing]).guess(4));
        }
      }),
    );
  });

  it('guesses nothing where nothing matches', () => {
    const distinct = Array.from({ length: 50 }, (_, i) => i);
    assert.deepEqual(new NgramGuesser(distinct).guess(4), []);
    assert.deepEqual(new NgramGuesser([...distinct, 7]).guess(4), [], 'one token in common is no match');
    assert.deepEqual(new NgramGuesser([]).guess(4), []);
  });

  it('goes on repeating a text that repeats itself', () => {
    assert.deepEqual(tokensOf([1, 2, 3, 1, 2, 3], 5), [[1], [2], [3], [1], [2]]);
    assert.deepEqual(tokensOf([4, 4, 4, 4], 3), [[4], [4], [4]]);
  });

  it('is the surer the longer the match, and would be of one token more for each guess that is right', () => {
    const sure = (of: readonly number[]): number[] =>
      new NgramGuesser(of).guess(3).map(([guess]) => guess!.confidence!);
    const confidences = [2, 3, 11, 12, 13].map((length) => {
      const match = Array.from({ length }, (_, i) => i);
      return sure([...match, 97, 98, 99, ...match]);
    });
    for (const [first, second] of confidences) assert.ok(first! > 0 && first! < second! && second! < 1);
    for (const i of [0, 2]) assert.equal(confidences[i]![1], confidences[i + 1]![0]);
    assert.deepEqual(confidences[3], confidences[4], 'longer ones are no better signs');
  });

  it('looks back only so far, however long the text is', () => {
    const noise = Array.from({ length: 10_000 }, (_, i) => i + 10);
    assert.deepEqual(new NgramGuesser([1, 2, 3, ...noise, 1, 2]).guess(4), []);
    const grown = [1, 2, 3];
    const guesser = new NgramGuesser(grown);
    guesser.guess(4);
    grown.push(...noise, 1, 2);
    assert.deepEqual(guesser.guess(4), [], 'also where it was remembered');
    const near = [...noise, 1, 2, 3, ...noise.slice(0, 100), 1, 2];
    assert.deepEqual(tokensOf(near, 1), [[3]]);
  });
});

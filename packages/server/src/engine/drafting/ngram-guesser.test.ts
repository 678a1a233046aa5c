import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { guessesOf } from '../../testing/guesses.ts';
import { guessByNgram } from './ngram-guesser.ts';

/** Few different tokens, so that there are matches of every length. */
const tokens = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 });
const count = fc.integer({ min: 0, max: 8 });

/** By definition: matches of 2 to 6 tokens, the longest, then the most recent. */
function expected(of: readonly number[], most: number): number[][] {
  for (let length = Math.min(6, of.length - 1); length >= 2; length--) {
    const ending = of.slice(-length).join();
    for (let end = of.length - 1; end >= length; end--) {
      if (of.slice(end - length, end).join() !== ending) continue;
      const repeated = Array.from({ length: most }, () => of.slice(end)).flat();
      return repeated.slice(0, most).map((token) => [token]);
    }
  }
  return [];
}

describe('guessByNgram', () => {
  it('guesses what followed the longest match, and of several the most recent', () => {
    fc.assert(
      fc.property(tokens, count, (of, most) => assert.deepEqual(guessByNgram(of, most), guessesOf(expected(of, most)))),
    );
  });

  it('guesses nothing where nothing matches', () => {
    const distinct = Array.from({ length: 50 }, (_, i) => i);
    assert.deepEqual(guessByNgram(distinct, 4), []);
    assert.deepEqual(guessByNgram([...distinct, 7], 4), [], 'one token in common is no match');
    assert.deepEqual(guessByNgram([], 4), []);
  });

  it('goes on repeating a text that repeats itself', () => {
    assert.deepEqual(guessByNgram([1, 2, 3, 1, 2, 3], 5), guessesOf([[1], [2], [3], [1], [2]]));
    assert.deepEqual(guessByNgram([4, 4, 4, 4], 3), guessesOf([[4], [4], [4]]));
  });

  it('looks back only so far, however long the text is', () => {
    const noise = Array.from({ length: 10_000 }, (_, i) => i + 10);
    assert.deepEqual(guessByNgram([1, 2, 3, ...noise, 1, 2], 4), []);
    const near = [...noise, 1, 2, 3, ...noise.slice(0, 100), 1, 2];
    assert.deepEqual(guessByNgram(near, 1), guessesOf([[3]]));
  });
});

/** However a history came about, it reads like one that was written down at once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TokenHistory } from './token-history.ts';

const ids = fc.array(fc.nat(6), { maxLength: 12 });
/** A number pushes that token; a fraction truncates to that part of what was generated; null reads the counts. */
const change = fc.oneof(
  fc.record({ push: fc.nat(6) }),
  fc.record({ keep: fc.double({ min: 0, max: 1, noNaN: true }) }),
);

test('counts and tokens follow any pushes and truncations', () => {
  fc.assert(
    fc.property(ids, fc.array(change), fc.nat(10), (prompt, changes, readFirstAt) => {
      const history = new TokenHistory(prompt);
      let tokens = [...prompt];
      for (const [i, step] of changes.entries()) {
        // Counting starts at the first reading, which may come late.
        if (i >= readFirstAt) checkCounts(history, tokens, prompt.length);
        if ('push' in step) {
          history.push(step.push);
          tokens.push(step.push);
        } else {
          const length = prompt.length + Math.round(step.keep * (tokens.length - prompt.length));
          history.truncate(length);
          tokens = tokens.slice(0, length);
        }
        assert.deepEqual(history.tokens, tokens);
        assert.equal(history.length, tokens.length);
        assert.equal(history.last, tokens.at(-1));
      }
      checkCounts(history, tokens, prompt.length);
    }),
  );
});

test('the prompt stays', () => {
  const history = new TokenHistory([1, 2]);
  history.push(3);
  assert.equal(history.promptLen, 2);
  assert.throws(() => history.truncate(1), /invariant/);
  assert.throws(() => history.truncate(4), /invariant/);
});

test('the prompt is copied', () => {
  const prompt = [1, 2];
  const history = new TokenHistory(prompt);
  prompt.push(3);
  assert.deepEqual(history.tokens, [1, 2]);
});

function checkCounts(history: TokenHistory, tokens: readonly number[], promptLen: number): void {
  assert.deepEqual(sorted(history.counts), count(tokens));
  assert.deepEqual(sorted(history.generatedCounts), count(tokens.slice(promptLen)));
}

function count(tokens: readonly number[]): [number, number][] {
  const distinct = [...new Set(tokens)].sort((a, b) => a - b);
  return distinct.map((id) => [id, tokens.filter((token) => token === id).length]);
}

function sorted(counts: ReadonlyMap<number, number>): [number, number][] {
  return [...counts].sort(([a], [b]) => a - b);
}

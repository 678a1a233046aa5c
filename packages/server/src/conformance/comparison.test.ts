import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { comparableRowCount, compareEqual, compareGreedy, compareRows, worstOf } from './comparison.ts';
import type { PromptVector } from './vectors.ts';

const TOLERANCE = 1e-2;
const row = (...logits: number[]): Float32Array => Float32Array.from(logits);

test('rows agree up to the tolerance, relative to the largest logit of all', () => {
  const expected = [row(1, -10), row(0, 2)];
  assert.equal(compareRows(expected, [row(1, -10), row(0.0625, 2)], TOLERANCE).error, 0.00625);
  assert.equal(compareRows(expected, [row(1, -10), row(0.0625, 2)], TOLERANCE).fault, undefined);
  const { error, fault } = compareRows(expected, [row(1, -10), row(0.125, 2)], TOLERANCE);
  assert.equal(error, 0.0125);
  assert.match(fault ?? '', /row 1, token 0: 0\.125, expected 0/);
});

test('one wrong element anywhere is found', () => {
  const shape = fc.record({ rows: fc.integer({ min: 1, max: 5 }), width: fc.integer({ min: 1, max: 9 }) });
  const wrong = fc.constantFrom(NaN, Infinity, -Infinity, 7);
  fc.assert(
    fc.property(shape, fc.nat(), fc.nat(), wrong, ({ rows, width }, i, j, value) => {
      const expected = Array.from({ length: rows }, () => new Float32Array(width).fill(1));
      const actual = expected.map((logits) => logits.slice());
      assert.equal(compareRows(expected, actual, 0).fault, undefined);
      actual[i % rows]![j % width] = value;
      const { fault = '' } = compareRows(expected, actual, TOLERANCE);
      assert.ok(fault.startsWith(`row ${i % rows}, token ${j % width}:`), fault);
    }),
  );
});

test('rows that are missing or of another width are faults', () => {
  assert.match(compareRows([row(1), row(2)], [row(1)], 1).fault ?? '', /1 rows of logits, not 2/);
  assert.match(compareRows([row(1, 2)], [row(1)], 1).fault ?? '', /1 logits in a row, not 2/);
});

/** A prompt of one token in a vocabulary of three; greedy tokens 2, 1, 0 with these margins. */
const vector = (margin: readonly number[]): PromptVector => ({
  prompt: [0],
  logits: [row(0, 0, 10)],
  greedy: [2, 1, 0],
  margin,
});
const ROWS = [row(0, 0, 10), row(0, 8, 0), row(5, 1, 0)];
const MARGINS = [10, 8, 4];

test('greedy tokens agree with their margins', () => {
  assert.deepEqual(compareGreedy(vector(MARGINS), { rows: ROWS, tokens: [2, 1, 0] }, TOLERANCE), { error: 0 });
  const off = compareGreedy(vector([10, 8, 4.1]), { rows: ROWS, tokens: [2, 1, 0] }, TOLERANCE);
  assert.ok(Math.abs(off.error - 0.005) < 1e-6);
  assert.match(
    compareGreedy(vector([10, 8, 4.3]), { rows: ROWS, tokens: [2, 1, 0] }, TOLERANCE).fault ?? '',
    /step 2: margin 4, expected 4\.3/,
  );
});

test('another greedy token is a fault where the margin was clear', () => {
  const { fault } = compareGreedy(vector(MARGINS), { rows: ROWS, tokens: [2, 0, 0] }, TOLERANCE);
  assert.match(fault ?? '', /step 1: token 0, expected 1 with a margin of 8/);
  assert.match(compareGreedy(vector(MARGINS), { rows: ROWS, tokens: [2, 1] }, TOLERANCE).fault ?? '', /step 2/);
});

test('after another token at a near tie nothing more is compared', () => {
  const tied = vector([10, 0.09, 4]);
  assert.equal(compareGreedy(tied, { rows: ROWS, tokens: [2, 0, 1] }, TOLERANCE).fault, undefined);
  assert.match(
    compareGreedy(vector([10, 0.11, 4]), { rows: ROWS, tokens: [2, 0, 1] }, TOLERANCE).fault ?? '',
    /step 1/,
  );
});

test('rows of two answers are comparable as long as their tokens are the same', () => {
  const answer = (...tokens: number[]): { rows: Float32Array[]; tokens: number[] } => ({
    rows: Array.from({ length: 4 + tokens.length - 1 }, () => row(0)),
    tokens,
  });
  assert.equal(comparableRowCount(4, answer(1, 2, 3), answer(1, 2, 3)), 6);
  assert.equal(comparableRowCount(4, answer(1, 2, 3), answer(1, 9, 3)), 5);
  assert.equal(comparableRowCount(4, answer(1, 2, 3), answer(9, 2, 3)), 4);
});

test('values without a tolerance are equal or not', () => {
  assert.equal(compareEqual([1, 2], [1, 2]).fault, undefined);
  assert.equal(compareEqual([1, 2], [1, 3]).fault, '[1,3], expected [1,2]');
});

test('of several outcomes the first fault counts, else the largest error', () => {
  assert.deepEqual(worstOf([{ error: 1 }, { error: 3 }]), { error: 3 });
  assert.deepEqual(worstOf([{ error: 4 }, { error: 3, fault: 'x' }]), { error: 3, fault: 'x' });
});

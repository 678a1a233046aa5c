/** The green list is a fair, reproducible part of the vocabulary, and text made with it can be told from other text. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GREEDY, type SamplingParams } from './params.ts';
import { Sampler } from './sampler.ts';
import { SamplingScratch } from './scratch.ts';
import { TokenHistory } from './token-history.ts';
import { greenList, watermark } from './watermark.ts';

test('the list has int(gamma * vocabSize) distinct ids', () => {
  fc.assert(
    fc.property(
      fc.nat(200_000),
      fc.integer({ min: 1, max: 300 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (lastToken, vocabSize, gamma) => {
        const ids = [...greenList(lastToken, gamma, new Int32Array(vocabSize))];
        assert.equal(ids.length, Math.trunc(vocabSize * gamma));
        assert.equal(new Set(ids).size, ids.length);
        assert.ok(ids.every((id) => id >= 0 && id < vocabSize));
      },
    ),
  );
});

test('the list depends on the last token alone, and stays what it was for detectors', () => {
  const permutation = new Int32Array(16);
  const first = [...greenList(7, 0.5, permutation)];
  assert.notDeepEqual([...greenList(8, 0.5, permutation)], first);
  assert.deepEqual([...greenList(7, 0.5, permutation)], first);
  assert.deepEqual(first, PINNED);
});

test('a larger part of the vocabulary extends the smaller one', () => {
  const half = [...greenList(3, 0.5, new Int32Array(100))];
  const most = [...greenList(3, 0.9, new Int32Array(100))];
  assert.deepEqual(most.slice(0, half.length), half);
});

test('green scores gain delta, the others nothing', () => {
  const logits = Float32Array.of(0.5, 0.3, 0.2, 0.8);
  const before = [...logits];
  watermark(OPTIONS, new Int32Array(4)).apply(logits, new TokenHistory([1, 9]));
  const green = greenList(9, 0.5, new Int32Array(4));
  assert.equal(green.length, 2);
  for (const [id, score] of before.entries()) {
    assert.equal(logits[id], Math.fround(score + (green.includes(id) ? 2 : 0)), `token ${id}`);
  }
});

test('every token is green after about gamma of all tokens', () => {
  const permutation = new Int32Array(50);
  const greenCounts = new Uint32Array(50);
  for (let last = 0; last < 4000; last++) for (const id of greenList(last, 0.25, permutation)) greenCounts[id]! += 1;
  // int(12.5) of 50 places; 4.5 standard deviations of a binomial with 4000 trials at 0.24.
  for (const [id, count] of greenCounts.entries()) assert.ok(Math.abs(count - 960) < 4.5 * 27, `token ${id}: ${count}`);
});

test('a detector tells marked text from unmarked text', () => {
  assert.ok(zScore(generate({ watermark: true }), VOCAB_SIZE) > 6);
  assert.ok(Math.abs(zScore(generate({ watermark: false }), VOCAB_SIZE)) < 3);
});

const PINNED = [7, 3, 4, 2, 6, 10, 12, 0];
const VOCAB_SIZE = 400;
const OPTIONS = { gamma: 0.5, delta: 2 };

function generate(params: Partial<SamplingParams>): readonly number[] {
  const scratch = new SamplingScratch(VOCAB_SIZE);
  const sampler = new Sampler(
    { ...GREEDY, doSample: true, seed: 11n, ...params },
    { vocabSize: VOCAB_SIZE, watermark: OPTIONS, scratch },
  );
  const history = new TokenHistory([0]);
  const logits = Float32Array.from({ length: VOCAB_SIZE }, (_, id) => Math.sin(id));
  for (let i = 0; i < 300; i++) history.push(sampler.choose(logits, history, 0).id);
  return history.tokens;
}

/** Standard deviations by which the green tokens exceed what chance gives (equation 3 of the paper). */
function zScore(tokens: readonly number[], vocabSize: number): number {
  const { gamma } = OPTIONS;
  const permutation = new Int32Array(vocabSize);
  let greenCount = 0;
  for (let i = 1; i < tokens.length; i++) {
    if (greenList(tokens[i - 1]!, gamma, permutation).includes(tokens[i]!)) greenCount++;
  }
  const trials = tokens.length - 1;
  return (greenCount - gamma * trials) / Math.sqrt(trials * gamma * (1 - gamma));
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { fakeHeads } from '../../testing/fake-heads.ts';
import { type Label, LabelledDrafts } from '../../testing/labelled-drafts.ts';
import type { Guess, Guesses } from './guesses.ts';
import { BatchMedusaWeights, type HeadRow, topTokens } from './batch-medusa-weights.ts';

const VOCAB_SIZE = 97;

/** Some token that is different for every row and head. */
function wanted({ segment, output }: Pick<Label['from'], 'segment' | 'output'>, head: number, rank = 0): number {
  return (segment * 31 + output * 17 + head * 7 + rank) % VOCAB_SIZE;
}

const drafts = () =>
  new LabelledDrafts(({ from, head }) => {
    const scores = new Float32Array(VOCAB_SIZE);
    for (const rank of [2, 1, 0]) scores[wanted(from, head!, rank)] = 10 - rank;
    return scores;
  });

const MODELS = [fakeHeads(3), fakeHeads(2, 1), fakeHeads(5), fakeHeads(4, 1), fakeHeads(3)];

function firstHeads(model: number, most: number): Pick<HeadRow, 'heads' | 'headCount'> {
  const heads = MODELS[model]!;
  return { heads, headCount: Math.min(most, heads.headCount) };
}

function tokensOf(guesses: Guesses): number[][] {
  return guesses.map((ranked) => ranked.map(({ token }) => token));
}

/** The heads' own probabilities: `wanted` gives each rank e times the score of the next. */
function checkConfidences(ranked: readonly Guess[]): void {
  const sum = Math.exp(10) + Math.exp(9) + Math.exp(8) + VOCAB_SIZE - 3;
  for (const [rank, { confidence }] of ranked.entries()) {
    assert.ok(Math.abs(confidence! - Math.exp(10 - rank) / sum) < 1e-6, `${confidence} at rank ${rank}`);
  }
}

const row = fc.record({
  model: fc.nat(MODELS.length - 1),
  most: fc.integer({ min: 1, max: 5 }),
  segment: fc.nat(20),
  output: fc.nat(5),
});
const rows = fc.array(row, { minLength: 1, maxLength: 12 });

describe('BatchMedusaWeights', () => {
  it('gives each row what its own heads guess, whoever else is in the draft', async () => {
    await fc.assert(
      fc.asyncProperty(rows, fc.integer({ min: 1, max: 3 }), async (given, rankCount) => {
        const backend = drafts();
        const headRows = given.map(({ model, most, ...at }) => ({ ...at, ...firstHeads(model, most), adapters: [] }));
        const guesses = await new BatchMedusaWeights(headRows).guess(backend, backend.model, rankCount);
        assert.equal(guesses.length, given.length);
        for (const [i, { model, most, ...at }] of given.entries()) {
          const expected = Array.from({ length: firstHeads(model, most).headCount }, (_, head) =>
            Array.from({ length: rankCount }, (__, rank) => wanted(at, head, rank)),
          );
          assert.deepEqual(tokensOf(guesses[i]!), expected);
          for (const ranked of guesses[i]!) checkConfidences(ranked);
        }
        assert.equal(backend.drafts.length, 1, 'all in one draft');
      }),
    );
  });

  it('gives the logits of each row and head', async () => {
    const backend = drafts();
    const headRows = [3, 0, 1, 0].map((model, segment) => ({
      segment,
      output: 1,
      ...firstHeads(model, 5),
      adapters: [],
    }));
    const logits = await new BatchMedusaWeights(headRows).logits(backend, backend.model);
    for (const [i, { heads }] of headRows.entries()) {
      assert.equal(logits[i]!.length, heads.headCount);
      for (const [head, scores] of logits[i]!.entries()) assert.equal(scores[wanted(headRows[i]!, head)], 10);
    }
  });
});

describe('topTokens', () => {
  it('is the beginning of all tokens by their scores, the lower id first among equals', () => {
    const scores = fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(-Infinity)), {
      minLength: 1,
      maxLength: 50,
    });
    fc.assert(
      fc.property(scores, fc.integer({ min: 1, max: 20 }), (values, count) => {
        const sorted = values.map((_, id) => id).sort((a, b) => values[b]! - values[a]! || a - b);
        assert.deepEqual(topTokens(Float32Array.from(values), count), sorted.slice(0, count));
      }),
    );
  });
});

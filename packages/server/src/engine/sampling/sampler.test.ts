/** The whole pipeline against a naive one, and what holds for any parameters: same question, same answer; only reads. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LoraxError } from '../../base/errors.ts';
import { logProbability } from './log-softmax.ts';
import { GREEDY, isSampling, type SamplingParams } from './params.ts';
import { Sampler, type TokenChoice } from './sampler.ts';
import { SamplingScratch } from './scratch.ts';
import { TokenHistory } from './token-history.ts';
import { greenList } from './watermark.ts';

const VOCAB_SIZE = 30;
const WATERMARK = { gamma: 0.5, delta: 2 };

const unit = fc.double({ min: 0.01, max: 0.99, noNaN: true });
const orDefault = <T>(value: T, others: fc.Arbitrary<T>): fc.Arbitrary<T> => fc.oneof(fc.constant(value), others);
const params: fc.Arbitrary<SamplingParams> = fc.record({
  doSample: fc.boolean(),
  temperature: orDefault(1, fc.oneof(fc.constant(0), fc.double({ min: 0.1, max: 5, noNaN: true }))),
  topK: orDefault(0, fc.integer({ min: 1, max: VOCAB_SIZE + 5 })),
  topP: orDefault(1, unit),
  typicalP: orDefault(1, unit),
  repetitionPenalty: orDefault(1, fc.double({ min: 0.5, max: 2, noNaN: true })),
  frequencyPenalty: orDefault(0, fc.double({ min: -2, max: 2, noNaN: true })),
  presencePenalty: orDefault(0, fc.double({ min: -2, max: 2, noNaN: true })),
  watermark: fc.boolean(),
  seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});
const score = fc.integer({ min: -1e7, max: 1e7 }).map((value) => value / 1e6);
const row = fc
  .array(score, { minLength: VOCAB_SIZE, maxLength: VOCAB_SIZE })
  .map((values) => Float32Array.from(values));
const tokens = fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 20 });

test('the pipeline keeps and scores what the textbook does', () => {
  // A fixed seed: rows whose cut falls within rounding exist, and would fail by chance.
  fc.assert(
    fc.property(params, row, tokens, tokens, (chosen, logits, prompt, generated) => {
      const choice = sample(chosen, logits, makeHistory(prompt, generated), VOCAB_SIZE);
      const expected = naive(chosen, logits, prompt, generated);
      assert.deepEqual(
        choice.alternatives.map(({ id }) => id),
        expected.map(({ id }) => id),
      );
      for (const [i, { id, logprob }] of choice.alternatives.entries()) {
        assert.ok(Math.abs(logprob - expected[i]!.logprob) < 1e-5, `token ${id}`);
        if (id === choice.id) assert.equal(choice.logprob, logprob);
      }
      assert.ok(expected.some(({ id }) => id === choice.id));
      if (!isSampling(chosen)) assert.equal(choice.id, expected[0]!.id);
    }),
    { seed: 1, numRuns: 1000 },
  );
});

test('a greedy margin is the distance of the two best scores', () => {
  const logits = Float32Array.of(1, 3, 2.5, 3);
  assert.equal(sample({}, Float32Array.of(1, 3, 2.5), makeHistory([0], []), 0).margin, 0.5);
  assert.equal(sample({}, logits, makeHistory([0], []), 0).margin, 0);
  assert.equal(sample({}, Float32Array.of(1), makeHistory([0], []), 0).margin, undefined);
});

test('temperature 0 is greedy in a mixed batch, whatever else is set', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(params, row), { minLength: 1, maxLength: 6 }),
      params,
      row,
      (others, mine, logits) => {
        const scratch = new SamplingScratch(VOCAB_SIZE);
        const history = makeHistory([3, 4], [5]);
        for (const [their, theirLogits] of others) sample(their, theirLogits, history, 3, scratch);
        const cold = sample({ ...mine, temperature: 0 }, logits, history, 0, scratch);
        const plain = { ...mine, temperature: 1, doSample: false, topK: 0, topP: 1, typicalP: 1 };
        assert.deepEqual(cold, sample(plain, logits, history, 0));
      },
    ),
  );
});

test('rows that share scratch memory answer as they do alone, in any order', () => {
  const batch = fc.array(fc.tuple(params, row, tokens, tokens), { minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(batch, (rows) => {
      const scratch = new SamplingScratch(VOCAB_SIZE);
      const choose = (
        [chosen, logits, prompt, generated]: (typeof rows)[number],
        memory?: SamplingScratch,
      ): TokenChoice => sample(chosen, logits, makeHistory(prompt, generated), 5, memory);
      const alone = rows.map((each) => choose(each));
      assert.deepEqual(
        rows.map((each) => choose(each, scratch)),
        alone,
      );
      assert.deepEqual(
        rows.toReversed().map((each) => choose(each, scratch)),
        alone.toReversed(),
      );
    }),
  );
});

test('a choice does not depend on drafts that were pushed and taken back', () => {
  const step = fc.record({ drafts: fc.array(fc.nat(VOCAB_SIZE - 1), { maxLength: 4 }), keep: fc.nat(4), logits: row });
  fc.assert(
    fc.property(params, tokens, fc.array(step, { maxLength: 8 }), (chosen, prompt, steps) => {
      const sampler = makeSampler(chosen);
      const history = new TokenHistory(prompt);
      for (const { drafts, keep, logits } of steps) {
        const start = history.length;
        for (const draft of drafts) {
          sampler.choose(logits, history, 0);
          history.push(draft);
        }
        history.truncate(Math.min(start + keep, history.length));
        const fresh = makeHistory(prompt, history.tokens.slice(prompt.length));
        assert.deepEqual(sampler.choose(logits, history, 3), sample(chosen, logits, fresh, 3));
      }
    }),
  );
});

test('logits are only read', () => {
  fc.assert(
    fc.property(params, row, tokens, tokens, (chosen, logits, prompt, generated) => {
      const before = Float32Array.from(logits);
      sample(chosen, logits, makeHistory(prompt, generated), 4);
      assert.deepEqual(logits, before);
    }),
  );
});

test('draws follow the distribution over positions', () => {
  const weights = [1, 2, 3, 4, 10, 20, 20, 40];
  const logits = Float32Array.from(weights, (weight) => 2 * Math.log(weight));
  const sampler = makeSampler({ temperature: 2, seed: 9n }, weights.length);
  const history = new TokenHistory([0]);
  const counts = new Uint32Array(weights.length);
  const drawCount = 20_000;
  for (let i = 0; i < drawCount; i++) {
    const { id } = sampler.choose(logits, history, 0);
    counts[id]! += 1;
    history.push(id);
  }
  const expected = weights.map((weight) => (weight / 100) * drawCount);
  const chiSquare = counts.reduce((sum, count, id) => sum + (count - expected[id]!) ** 2 / expected[id]!, 0);
  // 99.99 % of true samples stay below this with 7 degrees of freedom.
  assert.ok(chiSquare < 29.9, `chi-square ${chiSquare}`);
});

test('another seed or position draws otherwise, another prompt of that length does not', () => {
  const flat = new Float32Array(5000);
  const draw = (seed: bigint, tokensBefore: number[]): number =>
    sample({ doSample: true, seed }, flat, makeHistory(tokensBefore, []), 0).id;
  assert.notEqual(draw(1n, [1, 2]), draw(2n, [1, 2]));
  assert.notEqual(draw(1n, [1, 2]), draw(1n, [1, 2, 3]));
  assert.equal(draw(1n, [1, 2]), draw(1n, [3, 4]));
});

test('the repetition penalty touches prompt and generation, frequency and presence the generation only', () => {
  const logits = Float32Array.of(2, 2, 2, -2);
  const history = makeHistory([0, 0, 3], [1, 1]);
  const penalised = (changed: Partial<SamplingParams>): number[] => relativeScores(sample(changed, logits, history, 4));
  assert.deepEqual(penalised({ repetitionPenalty: 2 }), [-1, -1, 0, -6]);
  assert.deepEqual(penalised({ frequencyPenalty: 0.5 }), [0, -1, 0, -4]);
  assert.deepEqual(penalised({ presencePenalty: 0.5 }), [0, -0.5, 0, -4]);
});

test('history beyond the scored vocabulary is no obstacle', () => {
  const penalties = { repetitionPenalty: 1.5, frequencyPenalty: 1, presencePenalty: 1, watermark: true };
  assert.equal(sample(penalties, Float32Array.of(1, 9, 1), makeHistory([70], [80]), 0).id, 1);
});

test('there are at most as many alternatives as tokens left', () => {
  const logits = Float32Array.of(4, 3, 2, 1);
  assert.equal(sample({}, logits, makeHistory([0], []), 2).alternatives.length, 2);
  assert.equal(sample({}, logits, makeHistory([0], []), 99).alternatives.length, 4);
  assert.equal(sample({ topK: 3 }, logits, makeHistory([0], []), 99).alternatives.length, 3);
  assert.equal(sample({ topK: 3 }, logits, makeHistory([0], []), 0).alternatives.length, 0);
});

test('a logit that is not finite ends the request', () => {
  fc.assert(
    fc.property(params, row, fc.nat(VOCAB_SIZE - 1), fc.constantFrom(NaN, Infinity, -Infinity), (...drawn) => {
      const [chosen, logits, id, bad] = drawn;
      logits[id] = bad;
      assert.throws(() => sample(chosen, logits, makeHistory([0], []), 0), isGenerationError);
      assert.throws(() => logProbability(logits, 0), isGenerationError);
    }),
  );
});

test('penalties that leave no finite score end the request', () => {
  const history = makeHistory([0, 1], []);
  const logits = Float32Array.of(-1e30, -1e30);
  for (const doSample of [false, true]) {
    assert.throws(() => sample({ doSample, repetitionPenalty: 1e30 }, logits, history, 0), isGenerationError);
  }
});

test('plain greedy is the arg-max with the log-softmax of the raw logits', () => {
  const plain: fc.Arbitrary<Partial<SamplingParams>> = fc.constantFrom({}, { temperature: 0, topK: 3, topP: 0.2 });
  fc.assert(
    fc.property(plain, row, (chosen, logits) => {
      const { id, logprob } = sample(chosen, logits, makeHistory([1], [2]), 0);
      assert.equal(id, logits.indexOf(Math.max(...logits)));
      assert.equal(logprob, logProbability(logits, id));
    }),
  );
});

function makeSampler(
  chosen: Partial<SamplingParams>,
  vocabSize = VOCAB_SIZE,
  scratch = new SamplingScratch(vocabSize),
): Sampler {
  return new Sampler({ ...GREEDY, ...chosen }, { vocabSize, watermark: WATERMARK, scratch });
}

function sample(
  chosen: Partial<SamplingParams>,
  logits: Float32Array,
  history: TokenHistory,
  alternatives: number,
  scratch?: SamplingScratch,
): TokenChoice {
  return makeSampler(chosen, logits.length, scratch).choose(logits, history, alternatives);
}

function makeHistory(prompt: readonly number[], generated: readonly number[]): TokenHistory {
  const history = new TokenHistory(prompt);
  for (const id of generated) history.push(id);
  return history;
}

/** By id, how far each score is below the best. */
function relativeScores({ alternatives }: TokenChoice): number[] {
  const best = alternatives[0]!.logprob;
  const byId = alternatives.toSorted((a, b) => a.id - b.id);
  return byId.map(({ logprob }) => Number((logprob - best).toFixed(5)));
}

function isGenerationError(error: unknown): boolean {
  return error instanceof LoraxError && error.code === 'GENERATION';
}

interface Scored {
  readonly id: number;
  readonly logprob: number;
}

/** Spec section 9.1 as written down, on sorted copies: the tokens left, likeliest first. */
function naive(chosen: SamplingParams, logits: Float32Array, prompt: number[], generated: number[]): Scored[] {
  const scores = naivePenalties(chosen, logits, prompt, generated);
  let left = softmax([...scores.entries()], isSampling(chosen) ? chosen.temperature : 1);
  if (!isSampling(chosen)) return left;
  const { topK, topP, typicalP } = chosen;
  if (topK > 0) {
    const threshold = (left[topK - 1] ?? left.at(-1)!).logprob;
    left = normalise(left.filter(({ logprob }) => logprob >= threshold));
  }
  if (topP < 1) left = normalise(prefix(left, topP));
  if (typicalP < 1) {
    const entropy = left.reduce((sum, { logprob }) => sum - Math.exp(logprob) * logprob, 0);
    const distance = ({ logprob }: Scored): number => Math.abs(-logprob - entropy);
    left = normalise(
      prefix(
        left.toSorted((a, b) => distance(a) - distance(b)),
        typicalP,
      ),
    );
  }
  return left;
}

function naivePenalties(chosen: SamplingParams, logits: Float32Array, prompt: number[], generated: number[]): number[] {
  const all = [...prompt, ...generated];
  const green = chosen.watermark ? [...greenList(all.at(-1)!, 0.5, new Int32Array(logits.length))] : [];
  return Array.from(logits, (logit, id) => {
    // Scores are 32-bit floats between the stages.
    let s = Math.fround(logit + (green.includes(id) ? 2 : 0));
    if (all.includes(id)) s = Math.fround(s < 0 ? s * chosen.repetitionPenalty : s / chosen.repetitionPenalty);
    const count = generated.filter((token) => token === id).length;
    return Math.fround(s - chosen.frequencyPenalty * count - (count > 0 ? chosen.presencePenalty : 0));
  });
}

function softmax(scores: [number, number][], temperature: number): Scored[] {
  return normalise(scores.map(([id, s]) => ({ id, logprob: s / temperature })));
}

function normalise(scored: Scored[]): Scored[] {
  const total = scored.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
  const normal = scored.map(({ id, logprob }) => ({ id, logprob: logprob - Math.log(total) }));
  return normal.sort((a, b) => b.logprob - a.logprob || a.id - b.id);
}

function prefix(scored: Scored[], mass: number): Scored[] {
  let sum = 0;
  const end = scored.findIndex(({ logprob }) => (sum += Math.exp(logprob)) >= mass);
  return end < 0 ? scored : scored.slice(0, end + 1);
}

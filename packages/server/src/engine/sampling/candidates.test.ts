/** Each way of narrowing against its textbook definition, on rows full of ties and on rows of real size. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Candidates, type ScoredToken } from './candidates.ts';

/** How far a sum of probabilities may be off before it counts as a different answer. */
const SLACK = 1e-9;

/** Multiples of a quarter: most rows have ties, at the cut as well. */
const tiedRow = fc.array(fc.integer({ min: -24, max: 24 }), { minLength: 1, maxLength: 40 }).map(quarters);
/** Any finite floats, both zeros among them, and tokens that a mask removed. */
const wildScore = fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.constant(-Infinity));
const wildRow = fc.array(wildScore, { minLength: 1, maxLength: 40 }).filter((row) => row.some(Number.isFinite));
const row = fc.oneof(tiedRow, wildRow).map((scores) => Float32Array.from(scores));
const temperature = fc.oneof(fc.constant(1), fc.double({ min: 0.05, max: 20, noNaN: true }));
const mass = fc.oneof(fc.constantFrom(0.25, 0.5, 0.75), fc.double({ min: 1e-9, max: 1 - 1e-9, noNaN: true }));

test('top-k keeps the scores from the k-th largest up, ties included', () => {
  fc.assert(fc.property(row, fc.integer({ min: 0, max: 45 }), checkTopK));
});

test('top-k is the same for any k of a large row', () => {
  const scores = largeRow(6000);
  for (const topK of [1, 2, 40, 999, 1000, 1001, 1500, 5999, 6000]) checkTopK(scores, topK);
});

test('top-p keeps the fewest of the likeliest that reach p', () => {
  fc.assert(fc.property(row, temperature, mass, checkTopP));
  for (const p of [1e-6, 0.1, 0.5, 0.9, 0.999999]) checkTopP(largeRow(6000), 1.3, p);
});

test('among equally likely tokens top-p keeps the lower ids', () => {
  const candidates = filled(new Float32Array(10), 1);
  candidates.keepTopP(0.45);
  assert.deepEqual(idsOf(candidates), [0, 1, 2, 3, 4]);
});

test('typical-p keeps the fewest of the most typical that reach p', () => {
  fc.assert(
    fc.property(
      tiedRow.map((scores) => Float32Array.from(scores)),
      temperature,
      mass,
      checkTypical,
    ),
  );
  for (const p of [1e-6, 0.1, 0.5, 0.9, 0.999999]) checkTypical(largeRow(6000), 0.7, p);
});

test('typical-p can drop the likeliest token', () => {
  // The entropy is 1.95: the eight tokens of 1/13 (surprise 2.6) are nearer to it than the one of 5/13 (surprise 1).
  const scores = Float32Array.from([Math.log(5), 0, 0, 0, 0, 0, 0, 0, 0]);
  const candidates = filled(scores, 1);
  candidates.keepTypical(0.3);
  assert.ok(!idsOf(candidates).includes(0));
});

test('extreme targets keep at least one and at most all', () => {
  for (const narrow of ['keepTopP', 'keepTypical'] as const) {
    for (const p of [0, Number.MIN_VALUE, 1]) {
      const candidates = filled(Float32Array.of(1, 3, 2), 1);
      candidates[narrow](p);
      assert.equal(idsOf(candidates).length, p === 1 ? 3 : 1);
    }
  }
});

test('log-probabilities are those of the textbook softmax', () => {
  fc.assert(
    fc.property(row, temperature, (scores, degrees) => {
      const expected = probabilities(scores, degrees);
      for (const { id, logprob } of filled(scores, degrees).best(scores.length)) {
        assert.ok(Number.isFinite(logprob));
        assert.ok(Math.abs(Math.exp(logprob) - expected[id]!) < SLACK);
      }
    }),
  );
});

test('the best come in order, the lower id first among equals, as many as asked for', () => {
  fc.assert(
    fc.property(row, fc.integer({ min: 1, max: 45 }), (scores, count) => {
      const expected = ranked(scores).slice(0, count);
      const best = filled(scores, 1).best(count);
      assert.deepEqual(
        best.map(({ id }) => id),
        expected,
      );
    }),
  );
});

test('a draw never takes a token that was removed or that weighs nothing', () => {
  fc.assert(
    fc.property(row, temperature, mass, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (...drawn) => {
      const [scores, degrees, topP, uniform] = drawn;
      const candidates = filled(scores, degrees);
      candidates.keepTopP(topP);
      const { id, logprob } = candidates.draw(uniform);
      assert.ok(idsOf(candidates).includes(id));
      assert.ok(logprob > -700.1 && logprob <= SLACK);
    }),
  );
  const last = filled(Float32Array.of(0, 0, -1e30, -Infinity), 1).draw(1 - 2 ** -53);
  assert.equal(last.id, 1);
});

test('a draw inverts the cumulative probability in vocabulary order', () => {
  const candidates = filled(Float32Array.from([1, 2, 1, 4].map(Math.log)), 1);
  const drawn = [0, 0.124, 0.126, 0.374, 0.376, 0.49, 0.51, 0.999].map((uniform) => candidates.draw(uniform).id);
  assert.deepEqual(drawn, [0, 0, 1, 1, 2, 2, 3, 3]);
});

test('a temperature however low leaves the best tokens and finite log-probabilities', () => {
  for (const cold of [1e-6, 1e-40, Number.MIN_VALUE]) {
    const candidates = filled(Float32Array.of(3, 1e38, 1e38, -1e38), cold);
    candidates.keepTypical(0.9);
    assert.equal(candidates.draw(0.2).id, 1);
    assert.equal(candidates.draw(0.7).id, 2);
    for (const { logprob } of candidates.best(4)) assert.ok(Number.isFinite(logprob));
  }
});

function checkTopK(scores: Float32Array, topK: number): void {
  const candidates = new Candidates(scores.length);
  candidates.fill(scores, Math.max(...scores), 1, topK);
  const threshold = topK === 0 ? -Infinity : ([...scores].sort((a, b) => b - a)[topK - 1] ?? -Infinity);
  const expected = ranked(scores).filter((id) => scores[id]! >= threshold);
  assert.deepEqual(
    idsOf(candidates),
    expected.sort((a, b) => a - b),
  );
}

function checkTopP(scores: Float32Array, degrees: number, topP: number): void {
  const candidates = filled(scores, degrees);
  candidates.keepTopP(topP);
  checkShortestPrefix(ranked(scores), idsOf(candidates), probabilities(scores, degrees), topP);
}

function checkTypical(scores: Float32Array, degrees: number, typicalP: number): void {
  const candidates = filled(scores, degrees);
  candidates.keepTypical(typicalP);
  const kept = new Set(idsOf(candidates));
  const p = probabilities(scores, degrees);
  const distance = distancesToEntropy(p);
  // Distances are compared as 32-bit floats, so that which of two near ones comes last is left open.
  const farthest = Math.max(...Array.from(kept, (id) => distance[id]!)) * (1 - 1e-6) - 1e-9;
  assert.ok(
    distance.every((d, id) => kept.has(id) || d > farthest),
    'a token nearer to the entropy was dropped',
  );
  const keptMass = Array.from(kept).reduce((sum, id) => sum + p[id]!, 0);
  const lastMass = Math.max(...Array.from(kept, (id) => (distance[id]! > farthest ? p[id]! : 0)));
  assert.ok(keptMass >= typicalP - SLACK, 'the kept tokens do not reach p');
  assert.ok(kept.size === 1 || keptMass - lastMass < typicalP + SLACK, 'a token less would have done');
}

function distancesToEntropy(p: readonly number[]): number[] {
  const entropy = p.reduce((sum, value) => sum - value * Math.log(value), 0);
  return p.map((value) => Math.abs(-Math.log(value) - entropy));
}

/** `kept` is a prefix of `order` that reaches `target` and would not with one token less. */
function checkShortestPrefix(order: number[], kept: number[], p: readonly number[], target: number): void {
  assert.deepEqual(
    kept,
    order.slice(0, kept.length).sort((a, b) => a - b),
  );
  const reached = kept.reduce((sum, id) => sum + p[id]!, 0);
  const last = order[kept.length - 1]!;
  assert.ok(reached >= target - SLACK, 'the kept tokens do not reach p');
  assert.ok(kept.length === 1 || reached - p[last]! < target + SLACK, 'a token less would have done');
}

function filled(scores: Float32Array, degrees: number): Candidates {
  const candidates = new Candidates(scores.length);
  candidates.fill(scores, Math.max(...scores), degrees, 0);
  return candidates;
}

function idsOf(candidates: Candidates): number[] {
  return candidates
    .best(Infinity)
    .map(({ id }: ScoredToken) => id)
    .sort((a, b) => a - b);
}

/** Ids that were not masked, by falling score, then id. */
function ranked(scores: Float32Array): number[] {
  const ids = [...scores.keys()].filter((id) => scores[id] !== -Infinity);
  return ids.sort((a, b) => scores[b]! - scores[a]! || a - b);
}

function probabilities(scores: Float32Array, degrees: number): number[] {
  const peak = Math.max(...scores);
  const weights = [...scores].map((score) => Math.exp((score - peak) / degrees));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

function quarters(row: readonly number[]): number[] {
  return row.map((value) => value / 4);
}

/** Values between -9 and 9 without order, some of them equal. */
function largeRow(vocabSize: number): Float32Array {
  return Float32Array.from({ length: vocabSize }, (_, id) =>
    Math.fround((Math.imul(id + 1, 0x9e3779b9) >> 12) / 58_000),
  );
}

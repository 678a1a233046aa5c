import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LowRankDelta, truncateSum } from './delta-svd.ts';
import { uniformAt } from '../../base/philox.ts';

interface Shape {
  readonly inLen: number;
  readonly outLen: number;
}

let drawn = 0;
const random = (length: number): Float32Array => Float32Array.from({ length }, () => uniformAt(7n, drawn++) * 2 - 1);

function randomDelta({ inLen, outLen }: Shape, rank: number, factor: number): LowRankDelta {
  return { rank, factor, a: random(rank * inLen), b: random(outLen * rank) };
}

/** `factor * B A`, `[out, in]`. */
function product({ inLen, outLen }: Shape, { rank, factor, a, b }: LowRankDelta): number[] {
  return Array.from({ length: outLen * inLen }, (_, at) => {
    const [row, column] = [Math.floor(at / inLen), at % inLen];
    let sum = 0;
    for (let i = 0; i < rank; i++) sum += b[row * rank + i]! * a[i * inLen + column]!;
    return factor * sum;
  });
}

function sumOf(shape: Shape, deltas: readonly LowRankDelta[]): number[] {
  const products = deltas.map((delta) => product(shape, delta));
  return products[0]!.map((_, i) => products.reduce((sum, values) => sum + values[i]!, 0));
}

const distance = (a: readonly number[], b: readonly number[]): number =>
  Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));

const SHAPES: readonly Shape[] = [
  { inLen: 40, outLen: 24 },
  { inLen: 24, outLen: 40 },
  { inLen: 6, outLen: 30 },
  { inLen: 30, outLen: 6 },
  { inLen: 5, outLen: 4 },
];

test('with the sum of the ranks nothing is lost, whatever the shape', () => {
  for (const shape of SHAPES) {
    const deltas = [randomDelta(shape, 8, 0.7), randomDelta(shape, 3, -1.5)];
    const whole = sumOf(shape, deltas);
    const truncated = truncateSum(deltas, 11);
    assert.equal(truncated.rank, Math.min(11, shape.inLen, shape.outLen));
    assert.equal(truncated.a.length, truncated.rank * shape.inLen);
    assert.equal(truncated.b.length, truncated.rank * shape.outLen);
    assert.ok(
      distance(product(shape, { ...truncated, factor: 1 }), whole) <
        1e-5 *
          distance(
            whole,
            whole.map(() => 0),
          ),
    );
  }
});

test('a smaller rank keeps the largest singular values', () => {
  // Orthogonal directions of known sizes: 5, 3 (by two members together) and 1.
  const axis = (length: number, at: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => (i === at ? 1 : 0));
  const delta = (at: number, factor: number) => ({ rank: 1, factor, a: axis(12, at), b: axis(9, at) });
  const truncated = truncateSum([delta(2, 1), delta(4, 2), delta(4, -5), delta(7, 5)], 2);
  const values = product({ inLen: 12, outLen: 9 }, { ...truncated, factor: 1 });
  const expected = values.map((_, i) => (i === 4 * 12 + 4 ? -3 : i === 7 * 12 + 7 ? 5 : 0));
  assert.ok(distance(values, expected) < 1e-5);
});

test('no other matrix of that rank is closer', () => {
  const shape = { inLen: 20, outLen: 16 };
  const deltas = [randomDelta(shape, 4, 1), randomDelta(shape, 4, 1)];
  const whole = sumOf(shape, deltas);
  const best = distance(product(shape, { ...truncateSum(deltas, 4), factor: 1 }), whole);
  for (const other of deltas) assert.ok(best < distance(product(shape, other), whole));
});

test('a sum of nothing is nothing', () => {
  const zero = { rank: 4, factor: 0, a: random(4 * 10), b: random(12 * 4) };
  const { a, b } = truncateSum([zero, zero], 4);
  assert.ok([...a, ...b].every(Number.isFinite));
  assert.ok(product({ inLen: 10, outLen: 12 }, { rank: 4, factor: 1, a, b }).every((value) => value === 0));
});

test('members that are nearly the same are no trouble', () => {
  const shape = { inLen: 30, outLen: 20 };
  const one = randomDelta(shape, 4, 1);
  const near = { ...one, factor: -0.999, b: one.b.map((value, i) => value + (i % 3) * 1e-6) };
  const whole = sumOf(shape, [one, near, one]);
  const truncated = truncateSum([one, near, one], 12);
  assert.ok(
    distance(product(shape, { ...truncated, factor: 1 }), whole) <
      1e-6 *
        distance(
          whole,
          whole.map(() => 0),
        ),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomMask } from './random-mask.ts';

const LENGTH = 20_000;
const values = Float32Array.from({ length: LENGTH }, (_, i) => i);

function draw(stream: string, density: number, of = values): boolean[] {
  const mask = randomMask(stream, of, density);
  return Array.from({ length: LENGTH }, (_, i) => mask(i));
}

const count = (kept: readonly boolean[]): number => kept.filter(Boolean).length;

test('the share of what stays is the density', () => {
  // Six standard deviations of a binomial distribution.
  for (const density of [0.01, 0.2, 0.5, 0.9]) {
    const spread = Math.sqrt(LENGTH * density * (1 - density));
    assert.ok(Math.abs(count(draw('1 q_proj a', density)) - LENGTH * density) < 6 * spread);
  }
  assert.equal(count(draw('1 q_proj a', 1)), LENGTH);
});

test('the same stream and values give the same mask; another of either gives an independent one', () => {
  const mask = draw('1 q_proj a', 0.5);
  assert.deepEqual(draw('1 q_proj a', 0.5), mask);
  const others = [
    draw('2 q_proj a', 0.5),
    draw('1 q_proj b', 0.5),
    draw(
      '1 q_proj a',
      0.5,
      values.map((x) => -x),
    ),
  ];
  for (const other of others) {
    const agreeing = count(mask.map((isKept, i) => isKept === other[i]));
    assert.ok(Math.abs(agreeing - LENGTH / 2) < 6 * Math.sqrt(LENGTH / 4));
  }
});

test('a larger density keeps all that a smaller one keeps', () => {
  const few = draw('1 q_proj a', 0.2);
  const more = draw('1 q_proj a', 0.6);
  assert.ok(few.every((isKept, i) => !isKept || more[i]));
});

/** The published vectors of the generator, and that positions and seeds look like independent uniform numbers. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { philox4x32, uniformAt } from './philox.ts';

test('the block function gives the known answers of Random123', () => {
  const ones = 0xffffffff;
  assert.deepEqual(philox4x32([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  assert.deepEqual(
    philox4x32([ones, ones, ones, ones], [ones, ones]),
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  );
  assert.deepEqual(
    philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

test('a uniform number is the upper 53 bits of its block', () => {
  const bits = (0x6627e8d5n << 32n) | 0xe169c58dn;
  assert.equal(uniformAt(0n, 0), Number(bits >> 11n) / 2 ** 53);
});

test('all 64 bits of the seed and all of the position count', () => {
  const seeds = [0n, 1n, 1n << 32n, 1n << 63n, 2n ** 64n - 1n];
  const positions = [0, 1, 2 ** 32, 2 ** 52];
  const numbers = seeds.flatMap((seed) => positions.map((position) => uniformAt(seed, position)));
  assert.equal(new Set(numbers).size, seeds.length * positions.length);
});

test('the numbers are uniform over positions and over seeds', () => {
  // 99.99 % of uniform samples stay below 149 with 100 cells.
  assert.ok(chiSquare((i) => uniformAt(42n, i)) < 149);
  assert.ok(chiSquare((i) => uniformAt(BigInt(i), 7)) < 149);
  // Neighbours fall into the cells of a 10 x 10 square.
  assert.ok(chiSquare((i) => (Math.floor(uniformAt(5n, i) * 10) + uniformAt(5n, i + 1)) / 10) < 149);
});

function chiSquare(numberAt: (i: number) => number): number {
  const cells = new Uint32Array(100);
  const sampleCount = 50_000;
  for (let i = 0; i < sampleCount; i++) cells[Math.floor(numberAt(i) * 100)]! += 1;
  const expected = sampleCount / 100;
  return cells.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

/** The worked vectors of LoRAX's formulas, and what must hold for any tensors. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { MajoritySignMethod } from '../../base/adapter-reference.ts';
import { FACTOR_METHODS, mergeFactor } from './factor-method.ts';
import { type Mask, pruneByMagnitude, pruneByMask } from './pruning.ts';

type Strategy = keyof typeof FACTOR_METHODS;

const A1 = Float32Array.of(1, -2, 3, 0.5, 0.1, -0.2);
const A2 = Float32Array.of(-1, 4, 0.2, 0.3, -0.6, 0.4);
const A3 = Float32Array.of(2, -1, -5, 0, 0.7, 0.1);
const TENSORS = [A1, A2, A3];
const WEIGHTS = [2, 0.3, 0.7];
const MASKS = new Map<Float32Array, readonly number[]>([
  [A1, [1, 0, 1, 0, 1, 1]],
  [A2, [1, 1, 0, 1, 0, 0]],
  [A3, [0, 1, 1, 1, 1, 1]],
]);

const workedMask = (values: Float32Array): Mask => {
  const mask = MASKS.get(values)!;
  return (index) => mask[index] === 1;
};

function merge(
  strategy: Strategy,
  density: number,
  {
    majoritySign = 'total',
    tensors = TENSORS,
    weights = WEIGHTS,
    mask = workedMask,
  }: Partial<{
    majoritySign: MajoritySignMethod;
    tensors: readonly Float32Array[];
    weights: readonly number[];
    mask: (values: Float32Array) => Mask;
  }> = {},
): number[] {
  return [...mergeFactor(FACTOR_METHODS[strategy], tensors, weights, { density, majoritySign, mask })];
}

function assertClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    assert.ok(Math.abs(actual[i]! - value) <= tolerance * Math.max(1, Math.abs(value)), `${actual.join()} at ${i}`);
  }
}

/** Behaviour spec 3.3; DARE with its survivors divided by the density. */
const WORKED: readonly (readonly [Strategy, number, MajoritySignMethod, readonly number[]])[] = [
  ['linear', 1, 'total', [3.1, -3.5, 2.56, 1.09, 0.51, -0.21]],
  ['ties', 0.5, 'total', [1.7, 1.2, -3.5, 0, -0.18, 0]],
  ['ties', 0.5, 'frequency', [1.7, -2.35, 6, 0, -0.18, 0]],
  ['ties', 0.34, 'total', [1.4, 1.2, -3.5, 0, 0, 0]],
  ['ties', 0.34, 'frequency', [1.4, 1.2, 6, 0, 0, 0]],
  ['ties', 1, 'total', [1.7, 1.2, -3.5, 0.545, 0.345, 0.095]],
  ['ties', 1, 'frequency', [1.7, -2.35, 3.03, 0.545, 0.345, 0.095]],
  ['ties', 0, 'total', [0, 0, 0, 0, 0, 0]],
  ['dare_linear', 0.5, 'total', [3.4, 1, 5, 0.18, 1.38, -0.66]],
  ['dare_ties', 0.5, 'total', [4, 2.4, -7, 0.18, 0.69, -0.8]],
  ['dare_ties', 0.5, 'frequency', [4, 2.4, 12, 0.18, 0.69, 0.14]],
];

describe('the worked vectors', () => {
  for (const [strategy, density, majoritySign, expected] of WORKED) {
    test(`${strategy} at density ${density} by ${majoritySign}`, () => {
      assertClose(merge(strategy, density, { majoritySign }), expected);
    });
  }
});

test('as many stay as the density says, whatever their signs', () => {
  assert.deepEqual([...pruneByMagnitude(Float32Array.of(-1, 2, 0.5, -3, 1), 0.5)], [0, 2, 0, -3, 0]);
});

test('what a mask keeps is divided by the density', () => {
  assert.deepEqual([...pruneByMask(Float32Array.of(1, 2, 3), 0.25, (i) => i !== 1)], [4, 0, 12]);
});

const VALUE = fc.integer({ min: -8, max: 8 }).map((eighths) => eighths / 8);

/** Tensors of one shape with a weight each; the values are exact in float32. */
const members = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 5 })).chain(([length, count]) =>
  fc.record({
    tensors: fc.array(
      fc.array(VALUE, { minLength: length, maxLength: length }).map((values) => Float32Array.from(values)),
      { minLength: count, maxLength: count },
    ),
    weights: fc.array(VALUE, { minLength: count, maxLength: count }),
    density: fc.integer({ min: 1, max: 8 }).map((eighths) => eighths / 8),
    majoritySign: fc.constantFrom<MajoritySignMethod[]>('total', 'frequency'),
  }),
);

/** Keeps by the values alone, as the real masks do. */
const valueMask =
  (values: Float32Array): Mask =>
  (index) =>
    values[index]! > -0.5;

const strategies = Object.keys(FACTOR_METHODS) as Strategy[];

test('linear is linear in the weights and takes everything', () => {
  fc.assert(
    fc.property(members, fc.array(VALUE, { minLength: 5, maxLength: 5 }), ({ tensors, weights }, others) => {
      const sum = merge('linear', 1, { tensors, weights: weights.map((weight, i) => weight + others[i]!) });
      const first = merge('linear', 1, { tensors, weights });
      const second = merge('linear', 1, { tensors, weights: others });
      assert.deepEqual(
        sum,
        first.map((value, i) => value + second[i]!),
      );
    }),
  );
});

test('the order of the members is irrelevant for every strategy', () => {
  fc.assert(
    fc.property(members, fc.constantFrom(...strategies), (given, strategy) => {
      const forth = merge(strategy, given.density, { ...given, mask: valueMask });
      const reversed = { tensors: given.tensors.toReversed(), weights: given.weights.toReversed() };
      assertClose(merge(strategy, given.density, { ...given, ...reversed, mask: valueMask }), forth, 1e-6);
    }),
  );
});

test('weights of zero give zero, and one member of weight 1 at density 1 is itself', () => {
  fc.assert(
    fc.property(members, fc.constantFrom(...strategies), (given, strategy) => {
      const zeros = given.weights.map(() => 0);
      const merged = merge(strategy, given.density, { ...given, weights: zeros, mask: valueMask });
      assert.ok(merged.every((value) => value === 0));
      const [only] = given.tensors;
      assertClose(merge(strategy, 1, { ...given, tensors: [only!], weights: [1] }), [...only!], 0);
    }),
  );
});

test('ties at density 1 by frequency is the mean of those on the side of the majority', () => {
  fc.assert(
    fc.property(members, ({ tensors }) => {
      const merged = merge('ties', 1, { tensors, weights: tensors.map(() => 1), majoritySign: 'frequency' });
      for (const [i, value] of merged.entries()) {
        const column = tensors.map((tensor) => tensor[i]!);
        const positive = column.filter((entry) => entry > 0);
        const negative = column.filter((entry) => entry < 0);
        const majority = negative.length > positive.length ? negative : positive;
        const mean = majority.reduce((sum, entry) => sum + entry, 0) / Math.max(majority.length, 1);
        assert.equal(value, Math.fround(mean));
      }
    }),
  );
});

test('magnitude pruning keeps exactly its share, none of it smaller than what it drops', () => {
  fc.assert(
    fc.property(members, ({ tensors: [values], density }) => {
      const whole = values!.map((value) => value || 1);
      const kept = pruneByMagnitude(whole, density);
      const sizes = (wanted: boolean) => [...whole].filter((_, i) => (kept[i] !== 0) === wanted).map(Math.abs);
      assert.equal(sizes(true).length, Math.floor(density * whole.length));
      assert.ok(Math.min(...sizes(true)) >= Math.max(...sizes(false)));
    }),
  );
});

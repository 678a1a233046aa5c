/** Against Math.exp, over the range that has weights and below it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { expNonPositive } from './exponential.ts';

test('agrees with Math.exp to 1e-13', () => {
  const nonPositive = fc.double({ min: -700, max: 0, noNaN: true });
  fc.assert(
    fc.property(nonPositive, (x) => {
      assert.ok(Math.abs(expNonPositive(x) / Math.exp(x) - 1) < 1e-13, `at ${x}`);
    }),
    { numRuns: 10_000 },
  );
});

test('is exact at the ends', () => {
  assert.equal(expNonPositive(0), 1);
  assert.equal(expNonPositive(-0), 1);
  for (const x of [-701, -1e9, -1e300, -Infinity]) assert.equal(expNonPositive(x), 0);
  assert.ok(Number.isNaN(expNonPositive(NaN)));
});

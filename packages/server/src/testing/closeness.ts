/** How far two rows of numbers are apart, relative to the largest of the second: what tolerances of tests speak of. */

import assert from 'node:assert/strict';

type Row = ArrayLike<number>;

export function relativeError(actual: Row, expected: Row): number {
  assert.equal(actual.length, expected.length);
  let largest = 0;
  let error = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]!));
    const difference = Math.abs(actual[i]! - expected[i]!);
    // NaN compares false with everything; it must not pass for close.
    error = difference >= 0 ? Math.max(error, difference) : Infinity;
  }
  return error / largest;
}

export function assertClose(actual: readonly Row[], expected: readonly Row[], tolerance: number, what = ''): void {
  assert.equal(actual.length, expected.length, what);
  for (const [i, row] of expected.entries()) {
    const error = relativeError(actual[i]!, row);
    assert.ok(error <= tolerance, `${what} row ${i} is off by ${error}, more than ${tolerance}`);
  }
}

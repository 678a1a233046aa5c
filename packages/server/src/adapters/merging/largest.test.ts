/** The same choice as libstdc++'s, by `testdata/largest.json`, which `largest.cpp` (g++ 12) wrote. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { markLargest } from './largest.ts';

type Case = ({ readonly values: readonly number[] } | { readonly length: number; readonly modulus: number }) & {
  readonly count: number;
  /** FNV-1a over the kept indexes in ascending order. */
  readonly hash: number;
};

const path = new URL('../../../src/adapters/merging/testdata/largest.json', import.meta.url);
const cases = JSON.parse(readFileSync(path, 'utf8')) as Case[];

/** As in the C++ program. */
function valuesOf(worked: Case): Float32Array {
  if ('values' in worked) return Float32Array.from(worked.values);
  const { length, modulus } = worked;
  let state = length * 31 + modulus;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % modulus;
  });
}

const keptIndexes = (marks: Uint8Array): number[] => [...marks.keys()].filter((i) => marks[i] === 1);

test('the largest are those of libstdc++, among equal values too', () => {
  for (const worked of cases) {
    const { count, hash, ...from } = worked;
    const kept = keptIndexes(markLargest(valuesOf(worked), count));
    const code = kept.reduce((sum, index) => Math.imul(sum ^ index, 16777619) >>> 0, 2166136261);
    assert.deepEqual({ count: kept.length, code }, { count, code: hash }, JSON.stringify({ count, ...from }));
  }
});

test('none that stays is smaller than one that goes', () => {
  const numbers = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(numbers, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
      const count = Math.max(1, Math.floor(share * values.length));
      const marks = markLargest(Float32Array.from(values), count);
      const kept = values.filter((_, i) => marks[i] === 1);
      const gone = values.filter((_, i) => marks[i] === 0);
      assert.equal(kept.length, count);
      assert.ok(Math.min(...kept) >= Math.max(...gone));
    }),
  );
});

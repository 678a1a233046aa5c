import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ownFloats } from './owned-tensor.ts';
import { sliceTensor } from './tensor-slice.ts';
import { readFloats } from './values.ts';

const WHOLE = ownFloats(
  'w',
  [3, 4],
  Float32Array.from({ length: 12 }, (_, i) => i),
);

it('a slice is what lies within a span of rows or columns, and of both', () => {
  const rows = sliceTensor(WHOLE, 0, { start: 1, length: 2 });
  assert.deepEqual([...readFloats(rows)], [4, 5, 6, 7, 8, 9, 10, 11]);
  assert.deepEqual([...readFloats(sliceTensor(WHOLE, 1, { start: 3, length: 1 }))], [3, 7, 11]);
  assert.deepEqual([...readFloats(sliceTensor(rows, 1, { start: 1, length: 2 }))], [5, 6, 9, 10]);
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ownFloats, ownTensor } from './owned-tensor.ts';
import { readFloats } from './values.ts';

describe('owned tensors', () => {
  it('hold their values while garbage is made, however short they are', () => {
    const tensors = Array.from({ length: 200 }, (_, i) => ownFloats(`t${i}`, [2, 2], Float32Array.of(i, 1, 2, 3)));
    const copies = tensors.map(ownTensor);
    for (let i = 0; i < 2000; i++) new Float32Array(1000).fill(i);
    for (const [i, tensor] of [...tensors.entries(), ...copies.entries()]) {
      assert.deepEqual([...readFloats(tensor)], [i, 1, 2, 3]);
    }
  });

  it('copy a strided view row by row', () => {
    const stored = ownFloats('t', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
    const transposed = { ...stored, shape: [3, 2], strides: [1, 3] };
    const copy = ownTensor(transposed);
    assert.deepEqual([...readFloats(copy)], [1, 4, 2, 5, 3, 6]);
    assert.deepEqual(copy.strides, [2, 1]);
  });

  it('may be empty', () => assert.equal(readFloats(ownTensor(ownFloats('t', [0, 4], new Float32Array()))).length, 0));
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ownBytes, ownFloats } from './owned-tensor.ts';
import { stackRows } from './stacked-tensor.ts';
import { readFloats } from './values.ts';

/** 1 and 2 in bfloat16. */
const halves = ownBytes('h', 'bfloat16', [1, 2], Uint16Array.of(0x3f80, 0x4000).buffer);

describe('stackRows', () => {
  it('puts matrices one below the other, as they are stored', () => {
    const stacked = stackRows('s', [halves, halves, halves]);
    assert.deepEqual([stacked.dtype, stacked.shape], ['bfloat16', [3, 2]]);
    assert.deepEqual([...readFloats(stacked)], [1, 2, 1, 2, 1, 2]);
  });

  it('brings different types to float32', () => {
    const stacked = stackRows('s', [halves, ownFloats('f', [1, 2], Float32Array.of(3, 4.5))]);
    assert.deepEqual([stacked.dtype, stacked.shape], ['float32', [2, 2]]);
    assert.deepEqual([...readFloats(stacked)], [1, 2, 3, 4.5]);
  });
});

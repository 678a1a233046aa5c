import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { layOutInputs, packInputs } from './input-block.ts';
import { SLAB_ALIGNMENT } from './slab-plan.ts';

describe('inputs of a program', () => {
  it('go up as one block', () => {
    const layout = layOutInputs([8, 0, SLAB_ALIGNMENT]);
    const bytes = packInputs([Int32Array.of(1, 2), new Float32Array(0), Uint8Array.of(9)], layout);
    const { offsets } = layout;
    assert.deepEqual(offsets, [0, SLAB_ALIGNMENT, 2 * SLAB_ALIGNMENT]);
    assert.deepEqual([...bytes.subarray(0, 5), bytes[2 * SLAB_ALIGNMENT]], [1, 0, 0, 0, 2, 9]);
  });

  it('are no longer than their places', () => {
    assert.throws(() => packInputs([new Int32Array(3)], layOutInputs([8])), /fits its place/);
  });
});

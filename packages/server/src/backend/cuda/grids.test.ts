import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { perRow } from './grids.ts';

describe('grids', () => {
  it('have whole warps, and a block for each row', () => {
    assert.deepEqual(perRow(3, 48), { blocks: [3], threads: 64 });
    assert.deepEqual(perRow(3, 5000), { blocks: [3], threads: 256 });
  });
});

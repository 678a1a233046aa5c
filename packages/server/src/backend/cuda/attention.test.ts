import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AttentionShape } from '../backend.ts';
import type { KvTypes } from '../kv.ts';
import { shareGrid, shareKernel, tileGrid, tileKernel, variantFor } from './attention.ts';

const HALVES: KvTypes = { key: 'float16', value: 'float16' };
const EXACT_KEYS: KvTypes = { key: 'float32', value: 'float16' };

function shape(headCount: number, kvHeadCount: number, headDim: number): AttentionShape {
  return { headCount, kvHeadCount, headDim, layer: 0, scale: 1, window: undefined };
}

describe('the kernel for shares', () => {
  it('takes all query heads of a key head in as few blocks as it can', () => {
    const chosen = [1, 2, 3, 4, 7, 8, 71].map((each) => shareKernel(shape(each, 1, 128), HALVES).heads);
    assert.deepEqual(chosen, [1, 2, 4, 4, 8, 8, 8]);
    assert.deepEqual(
      [1, 7].map((each) => shareKernel(shape(each, 1, 64), EXACT_KEYS).name),
      ['attend_float32_1', 'attend_float32_4'],
    );
  });

  it('has blocks of fewer warps where many wait for room, for as many heads', () => {
    const four = shareKernel(shape(32, 8, 128), HALVES);
    const names = [1, 56 * 8, 58 * 8].map((blockCount) => variantFor(four, blockCount / 132).name);
    assert.deepEqual(names, ['attend_float16_4', 'attend_float16_4', 'attend_float16_4_many']);
    const one = shareKernel(shape(8, 8, 128), HALVES);
    assert.equal(variantFor(one, 100), one);
  });

  it('has room for what each warp has of each head, as lanes hold it', () => {
    const four = shareKernel(shape(32, 8, 128), HALVES);
    assert.deepEqual(shareGrid(128, 4, four, 24), { blocks: [24], threads: 256, sharedBytes: 8 * 4 * 128 * 4 });
    const bytes = [64, 80, 256].map((headDim) => shareGrid(headDim, 8, { ...four, threads: 128 }, 1).sharedBytes);
    assert.deepEqual(
      bytes,
      [64, 128, 256].map((held) => 4 * 8 * held * 4),
    );
  });

  it('is one for any types and heads where no other is', () => {
    assert.equal(shareKernel(shape(32, 32, 100), HALVES).name, 'attend_any');
    assert.equal(shareKernel(shape(2, 2, 64), { key: 'float16', value: 'float32' }).name, 'attend_any');
  });
});

describe('the kernel for tiles', () => {
  it('takes float16 and usual heads', () => {
    assert.equal(tileKernel(128, HALVES), 'attend_tiles_128');
    assert.deepEqual([tileKernel(256, HALVES), tileKernel(128, EXACT_KEYS)], [undefined, undefined]);
  });

  it('has a block for each head of a tile, with room as it lays out its rows', () => {
    assert.deepEqual(tileGrid(128, 32, 3), { blocks: [32, 3], threads: 128, sharedBytes: 384 * 256 });
    assert.equal(tileGrid(80, 1, 1).sharedBytes, 384 * 176);
  });
});

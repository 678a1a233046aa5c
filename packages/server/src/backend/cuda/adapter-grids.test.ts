import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  divideInner,
  expandRowsGrid,
  expandTilesGrid,
  shrinkRowsGrid,
  shrinkTilesGrid,
  shrunkLength,
} from './adapter-grids.ts';

/** Outputs that the kernels' warps take at a time. */
const WARP_OUTPUTS = 64;

const anyWidths = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 4 });

const anyUses = fc.record({
  count: fc.constantFrom(1, 2, 32, 256),
  rowsPerUse: fc.constantFrom(1, 4, 64),
  rankCapacity: fc.constantFrom(16, 32, 256),
});

describe('grids of adapters’ products', () => {
  it('divide the inner dimension in a few parts of whole blocks', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), (inFeatures) => {
        const { count, length } = divideInner(inFeatures);
        assert.ok(count <= 8 && length % 1024 === 0);
        assert.ok(count * length >= inFeatures && (count - 1) * length < inFeatures);
      }),
    );
    assert.deepEqual(
      [divideInner(4096), divideInner(14_336)],
      [
        { count: 4, length: 1024 },
        { count: 7, length: 2048 },
      ],
    );
  });

  it('have a block for every output of every use', () => {
    fc.assert(
      fc.property(anyWidths, anyUses, (widths, uses) => {
        for (const { grid, outputsPerBlock } of [expandRowsGrid(widths, uses), expandTilesGrid(widths, uses)]) {
          const blocks = widths.reduce((sum, width) => sum + Math.ceil(width / outputsPerBlock), 0);
          assert.deepEqual(grid.blocks, [blocks, uses.count]);
          assert.equal(outputsPerBlock % WARP_OUTPUTS, 0);
        }
      }),
    );
  });

  it('have room for every rank of every projection', () => {
    const uses = { count: 32, rowsPerUse: 1, rankCapacity: 16 };
    const parts = divideInner(4096);
    assert.deepEqual(shrinkRowsGrid(parts, 3, uses).blocks, [4, 32, 6]);
    assert.deepEqual(shrinkTilesGrid(parts, 3, { ...uses, rowsPerUse: 64 }).blocks, [4, 32, 1]);
    assert.equal(shrunkLength(parts, 3, uses), 32 * 3 * 4 * 16);
  });
});

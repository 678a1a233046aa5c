import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  expandRowsGrid,
  expandTilesGrid,
  replaceRowsGrid,
  rowParts,
  shrinkRowsGrid,
  shrinkTilesGrid,
  shrunkLength,
  tileParts,
} from './adapter-grids.ts';

/** Outputs that the kernels' warps take at a time. */
const ROW_OUTPUTS = 32;
const TILE_OUTPUTS = 64;

const anyWidths = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 4 });

const anyUses = fc.record({
  count: fc.constantFrom(1, 2, 32, 256),
  rowsPerUse: fc.constantFrom(1, 2, 4, 64),
  ranksPerUse: fc.constantFrom(8, 16, 256),
});

describe('grids of adapters’ products', () => {
  it('divide the inner dimension in a few parts of whole blocks', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), (inFeatures) => {
        for (const [parts, block] of [
          [rowParts(inFeatures), 2048],
          [tileParts(inFeatures), 1024],
        ] as const) {
          const { count, length } = parts;
          assert.ok(count <= 8 && length % block === 0);
          assert.ok(count * length >= inFeatures && (count - 1) * length < inFeatures);
        }
      }),
    );
    assert.deepEqual(
      [rowParts(4096), rowParts(14_336), tileParts(4096), tileParts(14_336)],
      [
        { count: 2, length: 2048 },
        { count: 7, length: 2048 },
        { count: 4, length: 1024 },
        { count: 7, length: 2048 },
      ],
    );
  });

  it('have a block for every output of every use', () => {
    fc.assert(
      fc.property(anyWidths, anyUses, (widths, uses) => {
        for (const [{ grid, outputsPerBlock }, step] of [
          [expandRowsGrid(widths, uses, false), ROW_OUTPUTS],
          [expandRowsGrid(widths, uses, true), ROW_OUTPUTS],
          [expandTilesGrid(widths, uses), TILE_OUTPUTS],
          [replaceRowsGrid(widths, uses), 1],
        ] as const) {
          const blocks = widths.reduce((sum, width) => sum + Math.ceil(width / outputsPerBlock), 0);
          assert.deepEqual(grid.blocks.slice(0, 2), [blocks, uses.count]);
          assert.equal(outputsPerBlock % step, 0);
        }
      }),
    );
  });

  it('have fewer blocks before a product that streams', () => {
    const uses = { count: 64, rowsPerUse: 1, ranksPerUse: 8 };
    const blocks = [false, true].map((isBefore) => expandRowsGrid([4096, 1024, 1024], uses, isBefore).grid.blocks[0]);
    assert.deepEqual(blocks, [12, 4]);
  });

  it('have room for every rank of every projection', () => {
    const uses = { count: 32, rowsPerUse: 2, ranksPerUse: 8 };
    const parts = rowParts(4096);
    assert.deepEqual(shrinkRowsGrid(parts, 3, uses).blocks, [2, 32, 3]);
    assert.equal(shrunkLength(parts, 3, uses), 32 * 2 * 3 * 2 * 8);
    const tiles = { ...uses, rowsPerUse: 64, ranksPerUse: 32 };
    assert.deepEqual(shrinkTilesGrid(tileParts(4096), 3, tiles).blocks, [4, 32, 2]);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { fitsStream, planStream } from './stream-plan.ts';

/** What the driver lets a block of Hopper's have. */
const MOST_SHARED_BYTES = 227 * 1024;
/** What the kernels declare themselves, at most. */
const DECLARED_BYTES = 5 * 1024;

const anyShape = fc.record({
  columns: fc.integer({ min: 1, max: 64 }),
  inFeatures: fc.integer({ min: 1, max: 4000 }).map((eights) => 8 * eights),
  outFeatures: fc.integer({ min: 1, max: 20_000 }).map((eights) => 8 * eights),
  isGated: fc.boolean(),
});

describe('the plan of a streamed product', () => {
  it('leaves no row of the matrix out, and finds room for at least two stages', () => {
    fc.assert(
      fc.property(anyShape, fc.integer({ min: 1, max: 160 }), (shape, multiprocessorCount) => {
        const { grid, isInPairs, passUnits, stageCount, boxColumns, boxOctets } = planStream(
          shape,
          multiprocessorCount,
        );
        const [blocks] = grid.blocks;
        assert.ok(blocks <= multiprocessorCount && (!isInPairs || blocks % 2 === 0));
        const units = Math.ceil((shape.outFeatures * (shape.isGated ? 2 : 1)) / 16);
        const most = Math.ceil(units / (isInPairs ? blocks / 2 : blocks));
        // Pairs of blocks have one pass.
        assert.ok(isInPairs ? passUnits === most && most <= 8 : passUnits <= 16);
        assert.ok(stageCount >= 2 && stageCount <= 16);
        assert.ok(grid.sharedBytes! + DECLARED_BYTES <= MOST_SHARED_BYTES);
        assert.ok(boxColumns >= shape.columns && boxOctets === 2 * passUnits);
      }),
    );
  });

  it('gives pairs of blocks no more than one pass, whatever number of multiprocessors there is', () => {
    for (let multiprocessorCount = 1; multiprocessorCount <= 160; multiprocessorCount++) {
      for (const more of [-8, 0, 8]) {
        const shape = { columns: 8, inFeatures: 4096, outFeatures: 64 * multiprocessorCount + more, isGated: false };
        const { isInPairs, passUnits, grid } = planStream(shape, multiprocessorCount);
        if (isInPairs) assert.ok(passUnits * (grid.blocks[0] / 2) * 16 >= shape.outFeatures);
      }
    }
  });

  it('divides the inputs of a matrix in the same way for any number of rows', () => {
    fc.assert(
      fc.property(anyShape, fc.integer({ min: 1, max: 64 }), (shape, columns) => {
        const [some, others] = [planStream(shape, 132), planStream({ ...shape, columns }, 132)];
        assert.deepEqual([some.isInPairs, some.grid.blocks], [others.isInPairs, others.grid.blocks]);
      }),
    );
  });

  it('is for as many rows and such sizes as the copy engine takes', () => {
    const shape = { columns: 64, inFeatures: 64, outFeatures: 64 };
    assert.ok(fitsStream(shape));
    for (const change of [{ columns: 65 }, { inFeatures: 60 }, { outFeatures: 60 }]) {
      assert.ok(!fitsStream({ ...shape, ...change }));
    }
  });

  it('has pairs of blocks for matrices of few outputs alone', () => {
    const shape = { columns: 1, inFeatures: 4096, isGated: false };
    assert.ok(planStream({ ...shape, outFeatures: 6144 }, 132).isInPairs);
    assert.ok(!planStream({ ...shape, outFeatures: 28672 }, 132).isInPairs);
    assert.ok(!planStream({ ...shape, inFeatures: 64, outFeatures: 4096 }, 132).isInPairs);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { StepSegment } from '../step.ts';
import { slotOf } from './adapter-rows.arbitrary.ts';
import { layOutStep } from './step-layout.ts';
import { fillUp, shapedRows, shapeKey, usualSize } from './step-shape.ts';

const options = { reduce: true, keepHidden: false };

function decodeOf(...ranks: (number | undefined)[]): StepSegment[] {
  return ranks.map((rank, i) => {
    const adapters = rank === undefined ? [] : [{ slot: slotOf({ table: BigInt(i), rank }), weight: 1 }];
    return { tokens: [7], position: 3, firstCell: 100 * i, adapters, outputCount: 1 };
  });
}

function keyOf(...ranks: (number | undefined)[]): string {
  return shapeKey(layOutStep(decodeOf(...ranks)), options);
}

describe('usual sizes', () => {
  it('are exact up to eight rows, then four to a doubling', () => {
    const sizes = Array.from({ length: 64 }, (_, i) => usualSize(i + 1));
    assert.deepEqual([...new Set(sizes)], [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64]);
    assert.equal(usualSize(17), 20);
  });

  it('hold their rows with less than a quarter to spare, and grow with them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), (rowCount) => {
        const size = usualSize(rowCount);
        assert.ok(size >= rowCount && size < 1.25 * rowCount);
        assert.ok(usualSize(rowCount + 1) >= size);
        assert.equal(usualSize(size), size);
      }),
    );
  });
});

describe('the shape of a step', () => {
  it('is that of other adapters in other rows, up to the next usual number of ranks', () => {
    const key = keyOf(16, undefined, 8, undefined);
    assert.equal(keyOf(undefined, 9, undefined, 5), key);
    for (const ranks of [[16, 16, 8, undefined], [25, undefined, 8, undefined], Array(4).fill(undefined)]) {
      assert.notEqual(keyOf(...ranks), key);
    }
  });

  it('keeps its adapters where rows fill it up', () => {
    const ranks = Array.from({ length: 9 }, (_, i) => i + 1);
    const rowCount = shapedRows(decodeOf(...ranks))!;
    assert.equal(rowCount, 10);
    const filled = fillUp(decodeOf(...ranks), rowCount, 5000);
    assert.equal(shapeKey(layOutStep(filled), options), keyOf(...ranks, undefined));
  });

  it('is unknown for prompts and for very many rows', () => {
    const prompt: StepSegment = { ...decodeOf(8)[0]!, tokens: [1, 2, 3] };
    assert.equal(shapedRows([prompt]), undefined);
    assert.equal(shapedRows(decodeOf(...Array<undefined>(256))), 256);
    assert.equal(shapedRows(decodeOf(...Array<undefined>(257))), undefined);
  });
});

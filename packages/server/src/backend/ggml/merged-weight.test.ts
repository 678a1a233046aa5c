import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { liveHandles } from '../../base/handles.ts';
import { ownFloats } from '../../weights/owned-tensor.ts';
import type { LowRankFactors } from '../adapters.ts';
import { GgmlBackend } from './ggml-backend.ts';
import { loadGgml } from './library.ts';
import type { GgmlWeight } from './weights.ts';

/** 4.5 million elements, of which a strip has 4.2; whole numbers, so that every sum is exact. */
const [OUT, IN] = [70_001, 64];
const SCALE = 0.5;

const base = matrix('w', OUT, IN, (row, column) => (row % 7) - (column % 3));
const a = matrix('a', 2, IN, (row, column) => column - 10 * row);
const b = matrix('b', OUT, 2, (row, column) => (row % 5) + 2 * column);
const factors = { rank: 2, scale: SCALE, a, b, magnitude: undefined };

function matrix(name: string, rows: number, columns: number, value: (row: number, column: number) => number) {
  const values = Float32Array.from({ length: rows * columns }, (_, i) => value(Math.floor(i / columns), i % columns));
  return ownFloats(name, [rows, columns], values);
}

function sum(row: number, column: number): number {
  const product = (row % 5) * column + ((row % 5) + 2) * (column - 10);
  return (row % 7) - (column % 3) + SCALE * product;
}

describe('a merged weight of several strips', () => {
  let backend: GgmlBackend;
  before(() => void (backend = new GgmlBackend({ path: undefined, threads: 1, precision: 'high' })));
  after(() => {
    backend.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  async function merge(merged: LowRankFactors): Promise<Float32Array> {
    const { tensor } = (await backend.loadWeight(base, { dtype: undefined, merged })) as GgmlWeight;
    const values = new Float32Array(OUT * IN);
    loadGgml().ggml.tensorGet(tensor, values, 0, values.byteLength);
    return values;
  }

  it('is the sum of base and product in every row', async () => {
    const values = await merge(factors);
    const wrong = values.findIndex((value, i) => value !== sum(Math.floor(i / IN), i % IN));
    assert.equal(wrong, -1);
  });

  it('has the row lengths that DoRA asks for', async () => {
    const magnitude = ownFloats(
      'm',
      [OUT],
      Float32Array.from({ length: OUT }, (_, row) => 1 + (row % 3)),
    );
    const values = await merge({ ...factors, magnitude });
    for (let row = 0; row < OUT; row++) {
      const length = Math.hypot(...values.subarray(row * IN, (row + 1) * IN));
      assert.ok(Math.abs(length / (1 + (row % 3)) - 1) < 1e-5, `row ${row} has length ${length}`);
    }
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Draw, StepSegment } from '../step.ts';
import { drawTable } from './draws.ts';
import { layOutStep } from './step-layout.ts';
import { fillUp, shapeKey } from './step-shape.ts';

const OPTIONS = { reduce: false, keepHidden: false };

function segment(rowCount: number, outputCount: number, draw?: Draw): StepSegment {
  const tokens = Array.from({ length: rowCount }, (_, i) => i);
  return { tokens, position: 0, firstCell: 0, adapters: [], outputCount, draw };
}

/** Of each row the temperature's inverse, the uniform number, top-p and top-k. */
function read(table: Uint8Array): number[][] {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  return Array.from({ length: table.length / 32 }, (_, row) => [
    ...[0, 8, 16].map((at) => view.getFloat64(32 * row + at, true)),
    view.getInt32(32 * row + 24, true),
  ]);
}

describe('the table of draws', () => {
  it('has a line for each output row, of zeros where nothing is drawn', () => {
    const prompt = segment(4, 3, { temperature: 0.5, topK: 40, topP: 0.9, uniforms: [0.25] });
    const drafted = segment(2, 2, { temperature: 4, topK: 0, topP: 1, uniforms: [0, 0.75] });
    const filled = fillUp([prompt, segment(1, 1), drafted], 8, 100);
    assert.deepEqual(read(drawTable(layOutStep(filled))), [
      ...[0, 1].map(() => [0, 0, 0, 0]),
      [2, 0.25, 0.9, 40],
      [0, 0, 0, 0],
      [0.25, 0, 1, 0],
      [0.25, 0.75, 1, 0],
      [0, 0, 0, 0],
    ]);
  });

  it('is finite for whatever a request may ask for', () => {
    const draw = { temperature: Number.MIN_VALUE, topK: Number.MAX_SAFE_INTEGER, topP: 0, uniforms: [1 - 2 ** -53] };
    const [[inverse, uniform, topP, topK] = assert.fail()] = read(drawTable(layOutStep([segment(1, 1, draw)])));
    assert.ok(inverse! > 1e200 && Number.isFinite(inverse));
    assert.deepEqual([uniform, topP, topK], [1 - 2 ** -53, 0, 2 ** 31 - 1]);
  });

  it('makes steps of another shape than those that draw nothing, whatever is drawn', () => {
    const keys = [undefined, 0.1, 0.2].map((uniform) => {
      const draw =
        uniform === undefined ? undefined : { temperature: 1 + uniform, topK: 5, topP: 1, uniforms: [uniform] };
      return shapeKey(layOutStep([segment(1, 1), segment(1, 1, draw)]), OPTIONS);
    });
    assert.equal(keys[1], keys[2]);
    assert.notEqual(keys[0], keys[1]);
  });
});

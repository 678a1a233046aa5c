import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StepSegment } from '../step.ts';
import { layOutStep } from './step-layout.ts';

const chain: StepSegment = { tokens: [5, 6, 7], position: 4, firstCell: 100, adapters: [], outputCount: 1 };
const tree: StepSegment = {
  ...{ tokens: [1, 2, 3, 4], parents: [-1, 0, 0, 2], position: 2, firstCell: 50, adapters: [] },
  outputCount: 4,
};

describe('the layout of a step', () => {
  it('gives rows in the order of their segments, with depths as positions and neighbouring cells', () => {
    const layout = layOutStep([chain, tree]);
    assert.deepEqual([...layout.tokens], [5, 6, 7, 1, 2, 3, 4]);
    assert.deepEqual([...layout.positions], [4, 5, 6, 2, 3, 3, 4]);
    assert.deepEqual([...layout.cells], [104, 105, 106, 52, 53, 54, 55]);
    assert.deepEqual(
      [[...layout.outputRows], layout.firstOutputs],
      [
        [2, 3, 4, 5, 6],
        [0, 1],
      ],
    );
  });

  it('has one set of rows where the logits of all are wanted', () => {
    const [whole, part] = [layOutStep([tree, tree]), layOutStep([chain, tree])];
    assert.equal(whole.outputs, whole.rows);
    assert.notEqual(part.outputs, part.rows);
  });

  it('ends in a row where none wants logits', () => {
    const { outputRows, outputs } = layOutStep([{ ...chain, outputCount: 0 }]);
    assert.deepEqual([[...outputRows], outputs.rows.length], [[2], 1]);
  });
});

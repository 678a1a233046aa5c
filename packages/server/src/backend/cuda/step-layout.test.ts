import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { StepSegment } from '../step.ts';
import { layOutStep } from './step-layout.ts';
import { visibleCells } from './visible-cells.ts';

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

  it('ends in a row where none wants logits', () => {
    const { outputRows, outputs } = layOutStep([{ ...chain, outputCount: 0 }]);
    assert.deepEqual([[...outputRows], outputs.rows.length], [[2], 1]);
  });
});

describe('visible cells', () => {
  it('of a tree are those before it and the branch', () => {
    const { rows, list } = visibleCells([tree], undefined);
    const third = [...rows.subarray(12, 16)];
    assert.deepEqual(third.slice(0, 2), [50, 2]);
    const named = list.subarray(third[2], third[2]! + third[3]!);
    assert.deepEqual(
      [...named].toSorted((a, b) => a - b),
      [52, 54, 55],
    );
  });

  it('are what the row follows, within its window', () => {
    const segment = fc
      .record({ parents: fc.array(fc.nat(), { maxLength: 8 }), isTree: fc.boolean(), position: fc.nat(9) })
      .map(({ parents, isTree, position }): StepSegment => {
        const all = [-1, ...parents.map((parent, i) => parent % (i + 1))];
        const rest = { position, firstCell: 30, adapters: [], outputCount: 0, tokens: all };
        return isTree ? { ...rest, parents: all } : rest;
      });
    fc.assert(
      fc.property(segment, fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }), (given, window) => {
        const { rows, list } = visibleCells([given], window);
        for (const row of given.tokens.keys()) {
          const [first, count, start, length] = rows.subarray(4 * row) as unknown as [number, number, number, number];
          const seen = [...Array.from({ length: count }, (_, i) => first + i), ...list.subarray(start, start + length)];
          assert.deepEqual(
            seen.toSorted((a, b) => a - b),
            followed(given, row, window),
          );
        }
      }),
    );
  });
});

/** The last `window` of the row's tokens, by walking back one at a time. */
function followed({ tokens, parents, position, firstCell }: StepSegment, row: number, window = Infinity): number[] {
  const chained = parents ?? tokens.map((_, i) => i - 1);
  const cells: number[] = [];
  for (let at = row; at >= 0; at = chained[at]!) cells.push(firstCell + position + at);
  for (let before = position - 1; before >= 0; before--) cells.push(firstCell + before);
  return cells.slice(0, window).toSorted((a, b) => a - b);
}

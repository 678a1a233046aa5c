import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { InputBlock, type InputData } from './input-block.ts';
import { SLAB_ALIGNMENT } from './slab-plan.ts';

/** Places of inputs, and what is put there in one run after the other: no more than fits. */
const anyRuns = fc.array(fc.nat(3 * SLAB_ALIGNMENT), { maxLength: 6 }).chain((byteLengths) =>
  fc.tuple(
    fc.constant(byteLengths),
    fc.array(fc.tuple(...byteLengths.map((maxLength) => fc.uint8Array({ maxLength }))), {
      minLength: 1,
      maxLength: 3,
    }),
  ),
);

function fill(block: InputBlock, inputs: readonly InputData[]): void {
  for (const [i, input] of inputs.entries()) block.put(i, input);
}

describe('inputs of a program', () => {
  it('go up as one block', () => {
    const block = new InputBlock([8, 0, SLAB_ALIGNMENT]);
    fill(block, [Int32Array.of(1, 2), new Float32Array(0), Uint8Array.of(9)]);
    assert.deepEqual(block.offsets, [0, SLAB_ALIGNMENT, 2 * SLAB_ALIGNMENT]);
    assert.deepEqual([...block.bytes.subarray(0, 5), block.bytes[2 * SLAB_ALIGNMENT]], [1, 0, 0, 0, 2, 9]);
  });

  it('are those of the last run, each at its place', () => {
    fc.assert(
      fc.property(anyRuns, ([byteLengths, runs]) => {
        const block = new InputBlock(byteLengths);
        for (const inputs of runs) {
          fill(block, inputs);
          for (const [i, input] of inputs.entries()) {
            const start = block.offsets[i]!;
            assert.deepEqual(block.bytes.slice(start, start + input.length), Uint8Array.from(input));
          }
        }
      }),
    );
  });

  it('are no longer than their places', () => {
    assert.throws(() => new InputBlock([8]).put(0, new Int32Array(3)), /fits its place/);
  });
});

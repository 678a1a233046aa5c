import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Sequence } from '../engine/sequence.ts';
import { planStep } from './plan.ts';

/** All that a plan looks at. */
interface FakeSequence {
  readonly isPrefilling: boolean;
  readonly pendingLen: number;
}

const decoding: FakeSequence = { isPrefilling: false, pendingLen: 1 };
const prompt = (pendingLen: number): FakeSequence => ({ isPrefilling: true, pendingLen });

const plan = (running: readonly FakeSequence[], budget: number) =>
  planStep(running as unknown as readonly Sequence[], budget).map(({ sequence, tokenCount }) => ({
    index: running.indexOf(sequence as unknown as FakeSequence),
    tokenCount,
  }));

describe('a step', () => {
  it('gives prompts what the budget leaves, oldest first, and cuts the one that does not fit', () => {
    assert.deepEqual(plan([prompt(300), prompt(400), prompt(5)], 512), [
      { index: 0, tokenCount: 300 },
      { index: 1, tokenCount: 212 },
    ]);
  });

  it('gives every sequence past its prompt its row, whatever prompts want', () => {
    assert.deepEqual(plan([prompt(9), { ...decoding }, prompt(9), { ...decoding }], 4), [
      { index: 0, tokenCount: 4 },
      { index: 1, tokenCount: 1 },
      { index: 3, tokenCount: 1 },
    ]);
  });

  it('keeps the order, never exceeds the budget, and is never empty while anyone runs', () => {
    const sequence = fc.record({
      isPrefilling: fc.boolean(),
      pendingLen: fc.integer({ min: 1, max: 600 }),
    });
    const running = fc.array(sequence, { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(running, fc.integer({ min: 1, max: 512 }), (sequences, budget) => {
        const shares = plan(sequences, budget);
        const ofPrompts = shares.filter(({ index }) => sequences[index]!.isPrefilling);
        const spent = ofPrompts.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
        const wanted = sequences.reduce(
          (sum, { isPrefilling, pendingLen }) => sum + (isPrefilling ? pendingLen : 0),
          0,
        );
        assert.equal(spent, Math.min(budget, wanted));
        assert.ok(shares.length > 0 && shares.every(({ tokenCount }) => tokenCount > 0));
        assert.ok(shares.every(({ index }, i) => i === 0 || shares[i - 1]!.index < index));
        const decodeCount = sequences.filter(({ isPrefilling }) => !isPrefilling).length;
        assert.equal(shares.length - ofPrompts.length, decodeCount);
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});

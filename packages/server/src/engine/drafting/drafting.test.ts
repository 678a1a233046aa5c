import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DraftingSetting, type DraftingMachine } from '../../testing/drafting-setting.ts';
import { fakeHeads } from '../../testing/fake-heads.ts';
import { Random } from '../../testing/random.ts';

const MACHINE: DraftingMachine = {
  sequenceCount: 1,
  heads: fakeHeads(4),
  stepMs: (rowCount) => 10 + 0.2 * rowCount,
  headMs: () => 1,
  chance: () => 0.8,
};

/** The heads are asked in vain ever more seldom: pauses between their runs. */
function pauses(guessedAt: readonly number[]): number[] {
  return guessedAt.slice(1).map((step, i) => step - guessedAt[i]!);
}

describe('Drafting', () => {
  it('drafts where it pays, and at every step', async () => {
    const setting = new DraftingSetting(MACHINE);
    await setting.speedUp(100);
    assert.ok((await setting.speedUp(400)) > 2);
    assert.ok(setting.guessedAt.length > 480);
  });

  it('stops where each row costs as much as a step, and tries ever more seldom', async () => {
    const setting = new DraftingSetting({ ...MACHINE, stepMs: (rowCount) => 10 * rowCount });
    assert.ok((await setting.speedUp(3000)) > 0.97);
    const late = pauses(setting.guessedAt.filter((step) => step > 300));
    assert.ok(late.length > 0 && late.length < 60, String(late.length));
  });

  it('stops where the heads are never right, and tries ever more seldom', async () => {
    const setting = new DraftingSetting({ ...MACHINE, headMs: () => 5, chance: () => 0 });
    assert.ok((await setting.speedUp(3000)) > 0.97);
    const waited = pauses(setting.guessedAt.slice(-6));
    assert.deepEqual(
      waited,
      waited.toSorted((a, b) => a - b),
    );
    assert.ok(waited.at(-1)! >= 256, waited.join());
  });

  it('drafts again when the heads have become right', async () => {
    const setting = new DraftingSetting({ ...MACHINE, chance: () => 0 });
    await setting.speedUp(2000);
    setting.machine = { ...setting.machine, chance: () => 0.9 };
    await setting.speedUp(2000);
    assert.ok((await setting.speedUp(300)) > 2);
  });

  it('drafts again when steps have become cheap', async () => {
    const setting = new DraftingSetting({ ...MACHINE, stepMs: (rowCount) => 10 * rowCount });
    await setting.speedUp(2000);
    setting.machine = { ...setting.machine, stepMs: (rowCount) => 10 + 0.2 * rowCount };
    await setting.speedUp(3000);
    assert.ok((await setting.speedUp(300)) > 2);
  });

  it('finds out that steps without drafts were only disturbed when it learnt what they cost', async () => {
    const stepMs = (rowCount: number): number => 10 + 6 * rowCount;
    const disturbed = (rowCount: number): number => (rowCount === 1 ? 3 : 1) * stepMs(rowCount);
    const setting = new DraftingSetting({ ...MACHINE, chance: () => 0.4, stepMs: disturbed });
    await setting.speedUp(100);
    setting.machine = { ...setting.machine, stepMs };
    await setting.speedUp(300);
    assert.ok((await setting.speedUp(400)) > 0.97);
  });

  it('asks the heads in pauses of steps, however many sequences there are', async () => {
    const runs = async (sequenceCount: number): Promise<number> => {
      const setting = new DraftingSetting({ ...MACHINE, sequenceCount, chance: () => 0, headMs: () => 5 });
      await setting.speedUp(1000);
      return setting.guessedAt.length;
    };
    assert.ok((await runs(32)) <= (await runs(1)) + 5);
  });

  it('makes trees where they pay, and more of several guesses than of one', async () => {
    const machine = { ...MACHINE, chance: () => 0.5 };
    const chain = new DraftingSetting(machine);
    const tree = new DraftingSetting({ ...machine, candidates: 3 });
    const [slower, faster] = [await chain.speedUp(1500), await tree.speedUp(1500)];
    assert.ok(faster > slower * 1.1, `${faster} and ${slower}`);
  });

  it('asks heads no more where looking back finds what follows, and again where it does not', async () => {
    const noise = new Random(3).integers(100_000, 8);
    const repeats = { ...MACHINE, lookbackPlaces: 4, truthAt: (position: number) => noise[position % 20]! };
    const setting = new DraftingSetting(repeats);
    await setting.speedUp(200);
    const asked = setting.guessedAt.length;
    assert.ok((await setting.speedUp(400)) > 4);
    assert.ok(setting.guessedAt.length - asked < 10, String(setting.guessedAt.length - asked));
    setting.machine = { ...repeats, truthAt: (position) => noise[position]! };
    await setting.speedUp(300);
    assert.ok((await setting.speedUp(300)) > 2);
  });

  it('is faster with both than with one, where a text repeats itself in parts', async () => {
    const noise = new Random(4).integers(100_000, 8);
    const truthAt = (position: number): number => noise[position % 100 < 50 ? position : position % 50]!;
    const machine = { ...MACHINE, chance: () => 0.6, headMs: () => 3, truthAt };
    const speedOf = async (of: Partial<DraftingMachine>): Promise<number> => {
      const setting = new DraftingSetting({ ...machine, ...of });
      await setting.speedUp(500);
      return setting.speedUp(1500);
    };
    const both = await speedOf({ lookbackPlaces: 4 });
    const [heads, lookback] = [await speedOf({}), await speedOf({ lookbackPlaces: 4, chance: () => 0 })];
    assert.ok(both > heads * 1.05 && both > lookback * 1.05, `${both}, ${heads} and ${lookback}`);
  });

  it('is never slower than without, by more than a little', async () => {
    const noise = new Random(5).integers(100_000, 8);
    const machine = fc.record({
      lookbackPlaces: fc.constantFrom(0, 4),
      isRepeating: fc.boolean(),
      sequenceCount: fc.constantFrom(1, 2, 5, 16, 40),
      perRow: fc.double({ min: 0, max: 10, noNaN: true }),
      // Heads are one part of what a step of as many rows is.
      headShare: fc.double({ min: 0, max: 0.5, noNaN: true }),
      right: fc.double({ min: 0, max: 1, noNaN: true }),
      candidates: fc.constantFrom(1, 3),
    });
    await fc.assert(
      fc.asyncProperty(
        machine,
        async ({ sequenceCount, perRow, headShare, right, candidates, lookbackPlaces, isRepeating }) => {
          const stepMs = (rowCount: number): number => 10 + perRow * rowCount;
          const setting = new DraftingSetting({
            ...{ sequenceCount, heads: MACHINE.heads, candidates, lookbackPlaces },
            ...(!isRepeating && { truthAt: (position: number) => noise[position]! }),
            stepMs,
            headMs: (rowCount) => headShare * stepMs(rowCount),
            chance: () => right,
          });
          await setting.speedUp(100); // what nobody knows yet has to be tried
          const speedUp = await setting.speedUp(400);
          assert.ok(speedUp > 0.97, String(speedUp));
        },
      ),
      { seed: 5, numRuns: 20 },
    );
  });
});

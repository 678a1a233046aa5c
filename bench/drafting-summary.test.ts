import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DraftMode } from './drafting-modes.ts';
import type { DraftRun } from './drafting-run.ts';
import { isNotSlower, summariseDrafting } from './drafting-summary.ts';
import type { RecordedStep } from './step-recorder.ts';

const load = { streamCount: 2, sampled: false, newTokens: 4 };

function step(totalMs: number, change: Partial<RecordedStep> = {}): RecordedStep {
  return {
    ...{ method: 'decode', rowCount: 2, sequenceCount: 2, samplingMs: 0, emissionMs: 0, draftingMs: 0, loopMs: 0 },
    ...{ times: { buildMs: 0, computeMs: totalMs }, totalMs, isUndisturbed: true, drafts: [], headMs: 0 },
    ...change,
  };
}

function drafted(totalMs: number, acceptedCount: number): RecordedStep {
  const drafts = [{ adapter: 'base', drafted: [1, 1, 1], acceptedCount }];
  return step(totalMs, { rowCount: 5, drafts, headMs: 1 });
}

function run(mode: DraftMode, round: number, ...steps: readonly RecordedStep[]): DraftRun {
  const answers = [
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ];
  return { mode, load, round, answers, steps };
}

test('speeds compare runs of one round, so that a machine that slows down between rounds does not show', () => {
  const runs = [
    ...[run('off, chain', 0, step(30)), run('chain', 0, step(20))],
    ...[run('off, chain', 1, step(60)), run('chain', 1, step(40))],
  ];
  assert.deepEqual(summariseDrafting('chain', load, runs).speed, { median: 1.5, low: 1.5, high: 1.5 });
});

test('the more pairs there are, the closer is known where their median lies', () => {
  const speedOf = (count: number) => {
    const rounds = Array.from({ length: count }, (_, round) => [
      run('off', round, step(100 + (round % 21))),
      run('tree', round, step(100)),
    ]);
    return summariseDrafting('tree', load, rounds.flat()).speed;
  };
  const [few, many] = [speedOf(21), speedOf(210)];
  for (const { median, low, high } of [few, many]) assert.ok(median === 1.1 && low < 1.1 && high > 1.1);
  assert.ok(many.high - many.low < (few.high - few.low) / 2);
});

test('accepted tokens make steps worth more, and rows and heads make them cost more', () => {
  const runs = [run('off', 0, step(10), step(10)), run('tree', 0, drafted(16, 2), step(10))];
  const summary = summariseDrafting('tree', load, runs);
  assert.equal(summary.tokensPerStep, 6 / 4);
  assert.equal(summary.rowsPerStep, 3.5);
  assert.equal(summary.draftedShare, 0.5);
  assert.deepEqual([summary.acceptedPerDraft, summary.tokensPerDraft], [2, 3]);
  assert.equal(summary.headShare, 1 / 26);
  assert.ok(Math.abs(summary.speed.median - 6 / 26 / (4 / 20)) < 1e-9);
  assert.ok(isNotSlower(summary));
  assert.ok(!isNotSlower({ ...summary, speed: { median: 0.96, low: 0.9, high: 1 } }));
  assert.ok(isNotSlower({ ...summary, speed: { median: 0.96, low: 0.9, high: 1 }, ownSpeed: 0.98 }));
});

test('drafts are held against the steps without any of the same runs', () => {
  const bare = Array.from({ length: 100 }, () => step(11, { draftingMs: 1 }));
  const drafts = Array.from({ length: 100 }, () => drafted(18, 1));
  const off = run('off', 0, ...Array.from({ length: 100 }, () => step(20, { draftingMs: 1 })));
  const { ownSpeed } = summariseDrafting('tree', load, [off, run('tree', 0, ...bare, ...drafts)]);
  assert.ok(Math.abs(ownSpeed - (200 + 300) / (1100 + 1800) / (2 / 10) / (19 / 20)) < 1e-9);
  const [few] = [summariseDrafting('tree', load, [run('off', 0, step(10)), run('tree', 0, step(10))])];
  assert.ok(Number.isNaN(few.ownSpeed));
});

test('what is left when a stream has come to its end does not count', () => {
  const alone = step(5, { sequenceCount: 1 });
  const runs = [run('off', 0, step(10)), run('tree', 0, step(10), alone, alone)];
  assert.equal(summariseDrafting('tree', load, runs).speed.median, 1);
});

test('answers that drafting changed are counted', () => {
  const off = run('off', 0, step(10));
  const other = { ...run('lookup', 0, step(10)), answers: [off.answers[0]!, [5, 6, 7, 9]] };
  assert.equal(summariseDrafting('lookup', load, [off, other]).differingCount, 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DraftMode } from './drafting-modes.ts';
import type { DraftRun } from './drafting-run.ts';
import { isNotSlower, summariseDrafting } from './drafting-summary.ts';
import type { RecordedStep } from './step-recorder.ts';

const load = { streamCount: 2, sampled: false, newTokens: 4 };

function step(cpuMs: number, change: Partial<RecordedStep> = {}): RecordedStep {
  return {
    ...{ method: 'decode', rowCount: 2, sequenceCount: 2, samplingMs: 0, emissionMs: 0, draftingMs: 0, loopMs: 0 },
    ...{ times: { buildMs: 0, computeMs: cpuMs }, totalMs: cpuMs, isUndisturbed: true, cpuMs, drafts: [], headMs: 0 },
    ...change,
  };
}

function drafted(cpuMs: number, acceptedCount: number): RecordedStep {
  const drafts = [{ adapter: 'base', drafted: [1, 1, 1], acceptedCount }];
  return step(cpuMs, { rowCount: 5, drafts, headMs: 1 });
}

function run(mode: DraftMode, round: number, wallMs: number, steps: readonly RecordedStep[]): DraftRun {
  const answers = [
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ];
  return { mode, load, round, answers, wallMs, steps };
}

test('speeds compare runs of one round, so that a machine that slows down between rounds does not show', () => {
  const runs = [
    ...[run('off, chain', 0, 300, [step(10)]), run('chain', 0, 200, [step(10)])],
    ...[run('off, chain', 1, 600, [step(10)]), run('chain', 1, 400, [step(10)])],
  ];
  assert.deepEqual(summariseDrafting('chain', load, runs).speed, { median: 1.5, low: 1.5, high: 1.5 });
});

test('the more pairs there are, the closer is known where their median lies', () => {
  const speedOf = (count: number) => {
    const rounds = Array.from({ length: count }, (_, round) => [
      run('off', round, 100 + (round % 21), [step(10)]),
      run('tree', round, 100, [step(10)]),
    ]);
    return summariseDrafting('tree', load, rounds.flat()).speed;
  };
  const [few, many] = [speedOf(21), speedOf(210)];
  for (const { median, low, high } of [few, many]) assert.ok(median === 1.1 && low < 1.1 && high > 1.1);
  assert.ok(many.high - many.low < (few.high - few.low) / 2);
});

test('accepted tokens make steps worth more, and rows and heads make them cost more', () => {
  const runs = [run('off', 0, 100, [step(10), step(10)]), run('tree', 0, 100, [drafted(16, 2), step(10)])];
  const summary = summariseDrafting('tree', load, runs);
  assert.equal(summary.tokensPerStep, 6 / 4);
  assert.equal(summary.rowsPerStep, 3.5);
  assert.equal(summary.draftedShare, 0.5);
  assert.deepEqual([summary.acceptedPerDraft, summary.tokensPerDraft], [2, 3]);
  assert.equal(summary.headShare, 1 / 26);
  assert.ok(isNotSlower(summary));
  assert.ok(!isNotSlower({ ...summary, speed: { median: 0.96, low: 0.9, high: 1 } }));
});

test('answers that drafting changed are counted', () => {
  const off = run('off', 0, 100, [step(10)]);
  const other = { ...run('lookup', 0, 100, [step(10)]), answers: [off.answers[0]!, [5, 6, 7, 9]] };
  assert.equal(summariseDrafting('lookup', load, [off, other]).differingCount, 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Run } from './run.ts';
import { comparedScenarios, type Scenario } from './scenario.ts';
import { quantile } from './statistics.ts';
import type { RecordedStep } from './step-recorder.ts';
import { summarise } from './summary.ts';

const [base, adapted] = comparedScenarios({
  ...{ streamCounts: [2], adapterCount: undefined, rank: 4, promptLen: 8, newTokens: 4, engine: true, http: false },
}) as [Scenario, Scenario];

function step(totalMs: number, change: Partial<RecordedStep> = {}): RecordedStep {
  return {
    ...{ method: 'decode', rowCount: 2, sequenceCount: 2, samplingMs: 0.5, emissionMs: 0.5, draftingMs: 0, loopMs: 0 },
    ...{ times: { buildMs: 1, computeMs: totalMs - 2 }, totalMs, isUndisturbed: true },
    ...{ drafts: [], headMs: 0 },
    ...change,
  };
}

function run(scenario: Scenario, round: number, steps: readonly RecordedStep[]): Run {
  const stream = { promptTokens: 8, generatedTokens: 4, firstTokenMs: 20, durationMs: 100 };
  const loopDelay = { p50Ms: 1, p99Ms: 2, maxMs: 3 };
  return { scenario, round, streams: [stream, stream], steps, adapterLoadMs: [], wallMs: 100, loopDelay };
}

test('a ratio compares runs of one round, so that a machine that slows down between rounds does not show', () => {
  const runs = [
    ...[run(base, 0, [step(100)]), run(adapted, 0, [step(110)])],
    ...[run(base, 1, [step(200)]), run(adapted, 1, [step(220)])],
  ];
  const { ratio } = summarise(adapted, runs);
  assert.ok(ratio);
  for (const value of Object.values(ratio)) assert.ok(Math.abs(value - 1.1) < 1e-9);
});

test('disturbed steps do not count, unless nearly all are', () => {
  const disturbed = { isUndisturbed: false };
  const steps = [step(100), step(300, disturbed), step(400, disturbed), step(500, disturbed)];
  assert.equal(summarise(base, [run(base, 0, steps)]).split.totalMs, 100);
  const { split } = summarise(base, [run(base, 0, steps.slice(1))]);
  assert.deepEqual([split.totalMs, split.undisturbedCount, split.stepCount], [400, 0, 3]);
});

test('only steps in which every stream generates are about tokens; prompts have a rate of their own', () => {
  const steps = [step(160, { method: 'prefill', rowCount: 16 }), step(100), step(40, { rowCount: 1 })];
  const summary = summarise(base, [run(base, 0, steps)]);
  assert.equal(summary.split.stepCount, 1);
  assert.equal(summary.promptTokensPerSecond, 100);
  assert.equal(summary.generatedTokensPerSecond, 20);
  assert.equal(summary.overallTokensPerSecond, 80);
});

test('time between steps belongs to the step and not to the device', () => {
  const { split } = summarise(base, [run(base, 0, [step(98, { loopMs: 2 })])]);
  assert.equal(split.totalMs, 100);
  assert.ok(Math.abs(split.outsideShare - 0.04) < 1e-9);
});

test('quantiles lie between samples', () => {
  assert.equal(quantile([4, 1, 3, 2], 0.5), 2.5);
  assert.equal(quantile([1], 0.9), 1);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

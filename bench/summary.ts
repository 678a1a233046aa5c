/** What a scenario's runs come to: rates, the median step in its parts, and the ratio to the baseline's step. Pure. */

import { present } from '#server/base/assert.ts';
import type { LoopDelay, Run, StreamResult } from './run.ts';
import type { Scenario } from './scenario.ts';
import { median, nearFastest, spread, sum, type Spread } from './statistics.ts';
import type { RecordedStep } from './step-recorder.ts';

/** Medians in milliseconds, over undisturbed steps where there are enough. */
export interface StepSplit {
  readonly stepCount: number;
  /** Of these steps, those during which nobody else used the cores. */
  readonly undisturbedCount: number;
  /** From the end of the step before to the end of this one. */
  readonly totalMs: number;
  readonly buildMs: number;
  readonly computeMs: number;
  readonly samplingMs: number;
  readonly emissionMs: number;
  /** Between two steps: admission, and whatever else the event loop does meanwhile. */
  readonly loopMs: number;
  /** Share of the step in which the device does not compute. */
  readonly outsideShare: number;
}

export interface Summary {
  readonly scenario: Scenario;
  readonly runCount: number;
  readonly generatedTokens: number;
  readonly promptTokensPerSecond: number;
  /** While every stream generates. */
  readonly generatedTokensPerSecond: number;
  /** Generated tokens over the whole run, prompts included. */
  readonly overallTokensPerSecond: number;
  readonly firstTokenMs: number;
  readonly split: StepSplit;
  /** Step over the baseline's in the same round; undefined without a baseline. */
  readonly ratio: Spread | undefined;
  readonly loopDelay: LoopDelay;
  readonly adapterLoadMs: readonly number[];
}

/** Fewer undisturbed steps than this share would be the lucky ones; then all of them count. */
const ENOUGH_UNDISTURBED = 0.1;

export function summarise(scenario: Scenario, all: readonly Run[]): Summary {
  const runs = all.filter((run) => run.scenario.name === scenario.name);
  const streams = runs.flatMap((run) => run.streams);
  const split = splitOf(runs.flatMap(countedSteps));
  const rows = scenario.streams.length;
  return {
    scenario,
    runCount: runs.length,
    generatedTokens: generatedTokens(streams),
    promptTokensPerSecond: promptRate(runs),
    generatedTokensPerSecond: (1000 * rows) / split.totalMs,
    overallTokensPerSecond: (1000 * generatedTokens(streams)) / sum(runs.map(({ wallMs }) => wallMs)),
    firstTokenMs: median(streams.map(({ firstTokenMs }) => firstTokenMs)),
    split,
    ratio: ratioTo(scenario.baseline, runs, all),
    loopDelay: {
      p50Ms: median(runs.map(({ loopDelay }) => loopDelay.p50Ms)),
      p99Ms: Math.max(...runs.map(({ loopDelay }) => loopDelay.p99Ms)),
      maxMs: Math.max(...runs.map(({ loopDelay }) => loopDelay.maxMs)),
    },
    adapterLoadMs: runs.flatMap((run) => run.adapterLoadMs),
  };
}

/** Steps of the kind that the scenario is about: all its rows generating, or for `prompts` the prompt's steps. */
function countedSteps({ scenario, steps }: Run): RecordedStep[] {
  const isPrompts = scenario.about === 'prompts';
  const isCounted = ({ method, rowCount }: RecordedStep): boolean =>
    isPrompts ? method === 'prefill' : method === 'decode' && rowCount === scenario.streams.length;
  return steps.filter(isCounted);
}

function splitOf(all: readonly RecordedStep[]): StepSplit {
  const undisturbed = all.filter((step) => step.isUndisturbed);
  const steps = undisturbed.length >= all.length * ENOUGH_UNDISTURBED ? undisturbed : all;
  const part = (read: (step: RecordedStep) => number): number => median(steps.map(read));
  return {
    stepCount: all.length,
    undisturbedCount: undisturbed.length,
    totalMs: part(wholeMs),
    buildMs: part(({ times }) => times.buildMs),
    computeMs: part(({ times }) => times.computeMs),
    samplingMs: part(({ samplingMs }) => samplingMs),
    emissionMs: part(({ emissionMs }) => emissionMs),
    loopMs: part(({ loopMs }) => loopMs),
    outsideShare: part((step) => 1 - step.times.computeMs / wholeMs(step)),
  };
}

function wholeMs({ totalMs, loopMs }: RecordedStep): number {
  return totalMs + loopMs;
}

/** Prompt tokens over the steps that computed any. */
function promptRate(runs: readonly Run[]): number {
  const steps = runs.flatMap((run) => run.steps.filter(({ method }) => method === 'prefill'));
  const tokens = sum(runs.flatMap((run) => run.streams).map(({ promptTokens }) => promptTokens));
  return (1000 * tokens) / sum(steps.map(({ totalMs }) => totalMs));
}

function generatedTokens(streams: readonly StreamResult[]): number {
  return sum(streams.map((stream) => stream.generatedTokens));
}

/** Compared round by round, because a shared machine is not equally fast in all of them. */
function ratioTo(baseline: string | undefined, runs: readonly Run[], all: readonly Run[]): Spread | undefined {
  if (baseline === undefined) return undefined;
  const ratios = runs.map((run) => {
    const other = all.find(({ scenario, round }) => scenario.name === baseline && round === run.round);
    return stepMs(run) / stepMs(present(other, `the round's run of ${baseline}`));
  });
  return spread(ratios);
}

/** Prompts are cut into steps as they happen to arrive, so only their sum compares. */
function stepMs(run: Run): number {
  const steps = countedSteps(run);
  return run.scenario.about === 'prompts' ? sum(steps.map(wholeMs)) : nearFastest(steps.map(wholeMs));
}

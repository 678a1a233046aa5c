/** What the runs of one way of drafting at one load come to, beside those without drafts of the same rounds. Pure. */

import { isDeepStrictEqual } from 'node:util';
import { present } from '#server/base/assert.ts';
import { DRAFT_MODES, type DraftMode } from './drafting-modes.ts';
import type { DraftLoad, DraftRun } from './drafting-run.ts';
import { estimateMedian, sum, type MedianEstimate } from './statistics.ts';
import type { RecordedStep } from './step-recorder.ts';

export interface DraftingSummary {
  readonly mode: DraftMode;
  readonly load: DraftLoad;
  /** While all streams generate. */
  readonly tokensPerSecond: number;
  /** Over those without drafts, round by round. */
  readonly speed: MedianEstimate;
  /**
   * Tokens per second over those of the runs' own steps without drafts, less what it took to decide for none; beside the same of
   * runs that never draft, where there is nothing to decide. NaN where such steps are few.
   */
  readonly ownSpeed: number;
  /** That a stream gains in a step, prompts aside. */
  readonly tokensPerStep: number;
  readonly rowsPerStep: number;
  /** Of the steps without prompts, those with a draft. */
  readonly draftedShare: number;
  /** Of a draft's tokens, how many were right. */
  readonly acceptedPerDraft: number;
  readonly tokensPerDraft: number;
  /** Of the time of all steps, that of draft heads. */
  readonly headShare: number;
  /** Answers that differ from those without drafts. */
  readonly differingCount: number;
}

/** What no load may lose by drafting. */
const LEAST_SPEED = 0.97;

/** That one knows their mean to about a percent. */
const LEAST_BARE_STEPS = 100;

export function summariseDrafting(mode: DraftMode, load: DraftLoad, all: readonly DraftRun[]): DraftingSummary {
  const atLoad = all.filter((run) => run.load === load);
  const runs = atLoad.filter((run) => run.mode === mode);
  const pairs = runs.map((run) => ({ run, off: withoutDrafts(run, atLoad) }));
  return {
    ...{ mode, load },
    tokensPerSecond: 1000 * speedOf(runs),
    speed: estimateMedian(pairs.map(({ run, off }) => speedOf([run]) / speedOf([off]))),
    ownSpeed: ownSpeed(runs) / ownSpeed(pairs.map(({ off }) => off)),
    ...splitSteps(runs),
    differingCount: sum(pairs.map(({ run, off }) => differingCount(run, off))),
  };
}

/** By its own steps without drafts where there are enough: they tell it closer than runs that follow each other. */
export function isNotSlower({ speed: { median }, ownSpeed: own }: DraftingSummary): boolean {
  return (Number.isNaN(own) ? median : own) >= LEAST_SPEED;
}

/**
 * Tokens per millisecond of the steps in which all streams generate: streams that drafts have brought to their end give the
 * machine to the others, as no load does that goes on.
 */
function speedOf(runs: readonly DraftRun[]): number {
  const steps = fullSteps(runs);
  return tokensOf(steps) / sum(steps.map(msOf));
}

/** Steps with drafts and without follow each other so closely that the machine is as fast for the ones as for the others. */
function ownSpeed(runs: readonly DraftRun[]): number {
  const bare = fullSteps(runs).filter(({ drafts, headMs }) => drafts.length === 0 && headMs === 0);
  if (bare.length < LEAST_BARE_STEPS) return NaN;
  const bareMs = sum(bare.map((step) => msOf(step) - step.draftingMs));
  return speedOf(runs) / (tokensOf(bare) / bareMs);
}

function fullSteps(runs: readonly DraftRun[]): RecordedStep[] {
  return runs.flatMap((run) =>
    decodeSteps([run]).filter(({ sequenceCount }) => sequenceCount === run.load.streamCount),
  );
}

function msOf({ totalMs, loopMs }: RecordedStep): number {
  return totalMs + loopMs;
}

function decodeSteps(runs: readonly DraftRun[]): RecordedStep[] {
  return runs.flatMap(({ steps }) => steps.filter(({ method }) => method === 'decode'));
}

/** One for each sequence, and what was right beyond. */
function tokensOf(steps: readonly RecordedStep[]): number {
  const accepted = steps.flatMap(({ drafts }) => drafts.map(({ acceptedCount }) => acceptedCount));
  return sum(steps.map(({ sequenceCount }) => sequenceCount)) + sum(accepted);
}

type StepFigures = Pick<
  DraftingSummary,
  'tokensPerStep' | 'rowsPerStep' | 'draftedShare' | 'acceptedPerDraft' | 'tokensPerDraft' | 'headShare'
>;

function splitSteps(runs: readonly DraftRun[]): StepFigures {
  const all = runs.flatMap((run) => run.steps);
  const steps = decodeSteps(runs);
  const drafts = steps.flatMap((step) => step.drafts);
  return {
    tokensPerStep: tokensOf(steps) / sum(steps.map(({ sequenceCount }) => sequenceCount)),
    rowsPerStep: sum(steps.map(({ rowCount }) => rowCount)) / steps.length,
    draftedShare: steps.filter((step) => step.drafts.length > 0).length / steps.length,
    acceptedPerDraft: sum(drafts.map(({ acceptedCount }) => acceptedCount)) / drafts.length,
    tokensPerDraft: sum(drafts.map(({ drafted }) => sum(drafted))) / drafts.length,
    headShare: sum(all.map(({ headMs }) => headMs)) / sum(all.map(({ totalMs }) => totalMs)),
  };
}

function withoutDrafts({ round, mode }: DraftRun, runs: readonly DraftRun[]): DraftRun {
  const { comparedWith } = DRAFT_MODES[mode];
  const off = runs.find((run) => run.mode === comparedWith && run.round === round);
  return present(off, `round ${round} without drafts`);
}

function differingCount(run: DraftRun, off: DraftRun): number {
  return run.answers.filter((answer, stream) => !isDeepStrictEqual(answer, off.answers[stream])).length;
}

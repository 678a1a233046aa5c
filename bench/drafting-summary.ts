/** What the runs of one way of drafting at one load come to, beside those without drafts of the same rounds. Pure. */

import { isDeepStrictEqual } from 'node:util';
import { present } from '#server/base/assert.ts';
import type { DraftMode } from './drafting-modes.ts';
import type { DraftLoad, DraftRun } from './drafting-run.ts';
import { nearFastest, spread, sum, type Spread } from './statistics.ts';
import type { RecordedStep } from './step-recorder.ts';

export interface DraftingSummary {
  readonly mode: DraftMode;
  readonly load: DraftLoad;
  readonly tokensPerSecond: number;
  /** Tokens per second over those without drafts, round by round. */
  readonly speed: Spread;
  /** The same by processor time, once streams generate. */
  readonly quietSpeed: number;
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

export function summariseDrafting(mode: DraftMode, load: DraftLoad, all: readonly DraftRun[]): DraftingSummary {
  const atLoad = all.filter((run) => run.load === load);
  const runs = atLoad.filter((run) => run.mode === mode);
  const pairs = runs.map((run) => ({ run, off: withoutDrafts(run, atLoad) }));
  return {
    ...{ mode, load },
    tokensPerSecond: (1000 * sum(runs.map(tokenCount))) / sum(runs.map(({ wallMs }) => wallMs)),
    speed: spread(pairs.map(({ run, off }) => off.wallMs / run.wallMs)),
    quietSpeed: quietSpeed(runs) / quietSpeed(pairs.map(({ off }) => off)),
    ...splitSteps(runs),
    differingCount: sum(pairs.map(({ run, off }) => differingCount(run, off))),
  };
}

export function isNotSlower({ quietSpeed: speed }: DraftingSummary): boolean {
  return speed >= LEAST_SPEED;
}

/** Tokens per millisecond. */
function quietSpeed(runs: readonly DraftRun[]): number {
  const steps = decodeSteps(runs);
  return tokensOf(steps) / quietMs(steps);
}

/**
 * What steps would have taken on a machine without other work: the processor time of each as that of one of the fastest of
 * its kind, which is of as many rows and sequences, with or without heads.
 */
export function quietMs(steps: readonly RecordedStep[]): number {
  const kinds = new Map<string, number[]>();
  for (const step of steps) {
    const kind = [sizeClass(step.rowCount), sizeClass(step.sequenceCount), step.headMs > 0].join();
    kinds.set(kind, [...(kinds.get(kind) ?? []), step.cpuMs]);
  }
  return sum([...kinds.values()].map((samples) => samples.length * nearFastest(samples)));
}

/** Exact for small numbers, eight to each doubling beyond. */
function sizeClass(count: number): number {
  return Math.round(8 * Math.log2(count));
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

function tokenCount({ answers }: DraftRun): number {
  return sum(answers.map(({ length }) => length));
}

function withoutDrafts({ round }: DraftRun, runs: readonly DraftRun[]): DraftRun {
  const off = runs.find((run) => run.mode === 'off' && run.round === round);
  return present(off, `round ${round} without drafts`);
}

function differingCount(run: DraftRun, off: DraftRun): number {
  return run.answers.filter((answer, stream) => !isDeepStrictEqual(answer, off.answers[stream])).length;
}

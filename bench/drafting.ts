/** Drafting against none, by number of streams: every way of it answers the same requests in turn. */

import { openDraftEngines, DRAFT_MODES, isBare, type DraftEngines, type DraftMode } from './drafting-modes.ts';
import { runDrafted, type DraftLoad, type DraftRun } from './drafting-run.ts';
import { isNotSlower, summariseDrafting, type DraftingSummary } from './drafting-summary.ts';
import { describeMachine, loadAverage } from './machine.ts';
import type { BenchOptions, DraftingSettings } from './options.ts';
import { machineText, table, type Reporter } from './report.ts';
import { sum, type MedianEstimate } from './statistics.ts';

const MODES = Object.keys(DRAFT_MODES) as DraftMode[]; // its own keys

/** Answers of each way at each load for one repetition, at least: one stream gives one a round. */
const LEAST_ANSWERS = 8;

export async function compareDrafting(
  options: BenchOptions,
  settings: DraftingSettings,
  reporter: Reporter,
): Promise<void> {
  const engines = await openDraftEngines(options, settings);
  try {
    announce(options, engines, reporter);
    const summaries: DraftingSummary[] = [];
    for (const load of loadsOf(options)) {
      const found = await compareAt(load, engines, options.repeat);
      for (const summary of found) reporter.record('drafting', summary);
      summaries.push(...found);
    }
    report(summaries, reporter);
  } finally {
    for (const { engine } of Object.values(engines)) await engine.dispose();
  }
}

function announce({ scenarios, repeat }: BenchOptions, { tree }: DraftEngines, reporter: Reporter): void {
  const machine = describeMachine(tree.engine.backend.description);
  reporter.say(machineText(machine));
  reporter.say(`${scenarios.newTokens} new tokens, ${repeat} repetitions; load average ${loadAverage().toFixed(1)}\n`);
  reporter.record('machine', machine);
}

function loadsOf({ scenarios: { streamCounts, newTokens } }: BenchOptions): DraftLoad[] {
  return [false, true].flatMap((sampled) => streamCounts.map((streamCount) => ({ streamCount, sampled, newTokens })));
}

/** The first round only teaches. */
async function compareAt(load: DraftLoad, engines: DraftEngines, repeat: number): Promise<DraftingSummary[]> {
  const rounds = repeat * Math.max(2, Math.ceil(LEAST_ANSWERS / load.streamCount));
  const runs: DraftRun[] = [];
  for (let round = -1; round < rounds; round++) {
    for (const mode of orderOf(Math.max(0, round))) {
      const run = await runDrafted(engines, { mode, load, round: Math.max(0, round) });
      if (round >= 0) runs.push(run);
    }
  }
  const summaries = MODES.map((mode) => summariseDrafting(mode, load, runs));
  process.stderr.write(
    `${summaries.map((summary) => `${nameOf(summary)}: ${estimateText(summary.speed)}, own ${summary.ownSpeed.toFixed(3)}`).join('; ')}\n`,
  );
  return summaries;
}

/**
 * In the course of many rounds every mode comes as often at each place and after each other one, so that neither a drift of the machine's
 * speed nor what the run before has left behind tells. Every stride reaches all modes because their number is a prime.
 */
function orderOf(round: number): DraftMode[] {
  const stride = 1 + (round % (MODES.length - 1));
  return MODES.map((_, i) => MODES[(round + i * stride) % MODES.length]!);
}

function report(summaries: readonly DraftingSummary[], reporter: Reporter): void {
  reporter.say(table([HEAD, ...summaries.map(summaryRow)]));
  reporter.say('');
  const drafted = summaries.filter(({ mode }) => !isBare(mode));
  for (const summary of drafted.filter((each) => !isNotSlower(each))) reporter.say(`slower  ${nameOf(summary)}`);
  const notSlower = drafted.filter(isNotSlower).length;
  reporter.say(`${notSlower} of ${drafted.length} at most 3 % slower than without drafts`);
  reporter.say(`${sum(drafted.map(({ differingCount }) => differingCount))} answers differ from those without`);
  reporter.say(`load average ${loadAverage().toFixed(1)}`);
}

const HEAD = [
  ...['load', 'tokens/s', 'to off', 'to own', 'tokens/step', 'rows/step', 'steps drafted', 'accepted', 'of', 'heads'],
];

function summaryRow(summary: DraftingSummary): string[] {
  const isOff = isBare(summary.mode);
  const figure = (value: number, digits: number): string => (Number.isNaN(value) ? '-' : value.toFixed(digits));
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  return [
    nameOf(summary),
    summary.tokensPerSecond.toFixed(0),
    isOff && summary.mode !== 'again' ? '' : estimateText(summary.speed),
    figure(summary.ownSpeed, 3),
    figure(summary.tokensPerStep, 2),
    figure(summary.rowsPerStep, 1),
    isOff ? '' : percent(summary.draftedShare),
    isOff ? '' : figure(summary.acceptedPerDraft, 2),
    isOff ? '' : figure(summary.tokensPerDraft, 2),
    isOff ? '' : percent(summary.headShare),
  ];
}

function nameOf({ load: { streamCount, sampled }, mode }: DraftingSummary): string {
  return `${streamCount} ${streamCount === 1 ? 'stream' : 'streams'}, ${sampled ? 'sampled' : 'greedy'}, ${mode}`;
}

function estimateText({ median, low, high }: MedianEstimate): string {
  return `${median.toFixed(2)} (${low.toFixed(2)}-${high.toFixed(2)})`;
}

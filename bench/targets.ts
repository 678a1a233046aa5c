/** What this project set out to reach on the default shape, and whether a benchmark reached it. */

import { spreadText } from './report.ts';
import type { Summary } from './summary.ts';

export interface TargetResult {
  readonly what: string;
  readonly limit: string;
  readonly measured: string;
  readonly reached: boolean;
}

const ONE_STREAM_RATIO = 1.12;
const MANY_STREAMS_RATIO = 1.2;
const OUTSIDE_SHARE = 0.03;
const LOOP_DELAY_MS = 20;

export function checkTargets(summaries: readonly Summary[]): TargetResult[] {
  return [
    ...ratioTarget(summaries, '1 stream, 1 adapter', ONE_STREAM_RATIO),
    ...ratioTarget(summaries, '8 streams, 8 adapters', MANY_STREAMS_RATIO),
    worst(summaries, 'work outside the backend', OUTSIDE_SHARE, ({ split }) => split.outsideShare, percentText),
    worst(summaries, 'event-loop delay p99', LOOP_DELAY_MS, ({ loopDelay }) => loopDelay.p99Ms, msText),
  ];
}

export function targetText({ what, limit, measured, reached }: TargetResult): string {
  return `${reached ? 'reached' : 'missed '}  ${what}: ${measured}, to reach ${limit}`;
}

/** Nothing where the scenario was not run. */
function ratioTarget(summaries: readonly Summary[], name: string, limit: number): TargetResult[] {
  const ratio = summaries.find(({ scenario }) => scenario.name === name)?.ratio;
  if (ratio === undefined) return [];
  const what = `${name}, step over base`;
  return [{ what, limit: `at most ${limit}`, measured: spreadText(ratio), reached: ratio.median <= limit }];
}

/** Over every scenario about generation: the worst of them counts. */
function worst(
  summaries: readonly Summary[],
  what: string,
  limit: number,
  read: (summary: Summary) => number,
  text: (value: number) => string,
): TargetResult {
  const [most, at] = summaries.reduce<[number, string]>(
    (found, summary) => (read(summary) > found[0] ? [read(summary), summary.scenario.name] : found),
    [-Infinity, ''],
  );
  return { what, limit: `at most ${text(limit)}`, measured: `${text(most)} (${at})`, reached: most <= limit };
}

function percentText(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function msText(value: number): string {
  return `${value.toFixed(1)} ms`;
}

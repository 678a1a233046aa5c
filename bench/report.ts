/** Writes results down: tables for people, JSON lines for machines. Measures nothing. */

import { appendFileSync } from 'node:fs';
import type { Machine } from './machine.ts';
import type { Spread } from './statistics.ts';
import type { Summary } from './summary.ts';

export interface Reporter {
  /** A line for people. */
  say(line: string): void;
  /** A line for machines. */
  record(kind: string, value: object): void;
}

export function createReporter(jsonFile: string | undefined): Reporter {
  return {
    say: (line) => void process.stdout.write(`${line}\n`),
    record: (kind, value) => {
      if (jsonFile !== undefined) appendFileSync(jsonFile, `${JSON.stringify({ kind, ...value })}\n`);
    },
  };
}

export function machineText(machine: Machine): string {
  const { cpu, cores, memoryGiB, kernel, node, library, device, threads, commit } = machine;
  const hardware = `${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}`;
  return `${hardware}\nNode ${node}, ${library}, ${device}, ${threads} threads, commit ${commit}`;
}

const SUMMARY_HEAD = [
  ...['scenario', 'prompt/s', 'gen/s', 'overall/s', 'first ms', 'step ms', 'build', 'compute', 'sampling', 'emission'],
  ...['loop', 'outside', 'quiet', 'to base', 'loop p50', 'p99', 'max'],
];

/**
 * Rates in tokens a second, times in milliseconds. `outside` is the share of a step in which the device does not compute,
 * `quiet` the steps during which nobody else used the cores; where there are enough of them the others do not count.
 * `to base` compares steps near the fastest of each round: median of the rounds, least and most.
 */
export function summaryTable(summaries: readonly Summary[]): string {
  return table([SUMMARY_HEAD, ...summaries.map(summaryRow)]);
}

export function spreadText({ median, least, most }: Spread): string {
  const range = least === most || Number.isNaN(median) ? '' : ` (${least.toFixed(2)}-${most.toFixed(2)})`;
  return `${numberText(median, 2)}${range}`;
}

/** The first column is text, the others are numbers. */
export function table(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows;
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ');
  return rows.map(line).join('\n');
}

function summaryRow(summary: Summary): string[] {
  const { scenario, split, ratio, loopDelay } = summary;
  const isPrompts = scenario.about === 'prompts';
  const rate = (value: number): string => numberText(value, 1);
  return [
    scenario.name,
    rate(summary.promptTokensPerSecond),
    isPrompts ? '' : rate(summary.generatedTokensPerSecond),
    isPrompts ? '' : rate(summary.overallTokensPerSecond),
    numberText(summary.firstTokenMs, 0),
    numberText(split.totalMs, 1),
    numberText(split.buildMs, 2),
    numberText(split.computeMs, 1),
    numberText(split.samplingMs, 2),
    numberText(split.emissionMs, 2),
    numberText(split.loopMs, 2),
    `${numberText(100 * split.outsideShare, 1)} %`,
    `${split.undisturbedCount}/${split.stepCount}`,
    ratio === undefined ? '' : spreadText(ratio),
    ...[loopDelay.p50Ms, loopDelay.p99Ms, loopDelay.maxMs].map((value) => value.toFixed(1)),
  ];
}

/** A dash where nothing was measured: streams so short that they were never all there together. */
function numberText(value: number, digits: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(digits);
}

/** One execution of a scenario, and what was measured while it went on. Knows not how requests are made. */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { BenchEngine } from './bench-engine.ts';
import type { Scenario } from './scenario.ts';
import type { RecordedStep } from './step-recorder.ts';

/** What one stream's caller saw. */
export interface StreamResult {
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly firstTokenMs: number;
  readonly durationMs: number;
}

/** Intervals between turns of the event loop at a timer of one millisecond, which they include. */
export interface LoopDelay {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Run {
  readonly scenario: Scenario;
  readonly round: number;
  readonly streams: readonly StreamResult[];
  readonly steps: readonly RecordedStep[];
  /** How long each adapter that was loaded meanwhile took. */
  readonly adapterLoadMs: readonly number[];
  readonly wallMs: number;
  readonly loopDelay: LoopDelay;
}

const NS_PER_MS = 1e6;

export async function measure(
  { recorder, engine }: BenchEngine,
  scenario: Scenario,
  round: number,
  streamAll: () => Promise<readonly StreamResult[]>,
): Promise<Run> {
  recorder.begin(engine.backend.description.threads);
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const begun = performance.now();
  const streams = await streamAll();
  const wallMs = performance.now() - begun;
  delays.disable();
  const delayMs = (percentile: number): number => delays.percentile(percentile) / NS_PER_MS;
  const loopDelay = { p50Ms: delayMs(50), p99Ms: delayMs(99), maxMs: delays.max / NS_PER_MS };
  const { steps, adapterLoadMs } = recorder;
  return { scenario, round, streams, steps, adapterLoadMs, wallMs, loopDelay };
}

/** Token ids of a stream's prompt: different for each, the same in every run. */
export function promptTokens(stream: number, length: number, vocabSize: number): number[] {
  const firstOrdinary = 3;
  const span = vocabSize - firstOrdinary;
  return Array.from({ length }, (_, position) => firstOrdinary + ((stream * 7919 + position * 104_729) % span));
}

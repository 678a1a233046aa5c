/**
 * The loop: receive, admit, plan, step, emit. Requests join and leave at every step. Knows cells and rows by number;
 * never touches tensors.
 */

import { LoraxError } from '../base/errors.ts';
import type { Drafting } from '../engine/drafting/drafting.ts';
import type { SequenceDrafter } from '../engine/drafting/sequence-drafter.ts';
import type { KvCache } from '../engine/kv-cache.ts';
import type { Runner, StepResult, StepShare } from '../engine/runner.ts';
import type { Sampler } from '../engine/sampling/sampler.ts';
import type { SamplingParams } from '../engine/sampling/params.ts';
import type { Sequence, SequenceAdvance } from '../engine/sequence.ts';
import { planStep } from './plan.ts';
import type { RunningRequest } from './running-request.ts';

export interface SchedulerLimits {
  /** Sequences that run at the same time. */
  readonly maxBatchSize: number;
  /** Prompt tokens in one step. */
  readonly maxBatchPrefillTokens: number;
}

/** What the loop tells about itself, for metrics and benchmarks. */
export interface SchedulerObserver {
  onAdmit(admittedCount: number): void;
  onStep(step: StepReport): void;
  onStepFailure(method: StepMethod): void;
  /** Draft heads failed: their guesses are lost, and nothing else. */
  onDraftFailure(error: unknown): void;
}

export type StepMethod = 'prefill' | 'decode';

export interface StepReport extends Omit<StepResult, 'advances'> {
  readonly method: StepMethod;
  readonly sequenceCount: number;
  readonly totalMs: number;
  readonly emissionMs: number;
  /** Deciding what to draft, learning from the step and running draft heads. */
  readonly draftingMs: number;
}

export interface SchedulerParts {
  readonly runner: Runner;
  readonly drafting: Drafting;
  readonly kv: KvCache;
  readonly limits: SchedulerLimits;
  readonly makeSampler: (params: SamplingParams) => Sampler;
  readonly observer: SchedulerObserver;
}

interface Running {
  readonly request: RunningRequest;
  readonly sequence: Sequence;
  /** Undefined where nothing is drafted. */
  readonly drafter: SequenceDrafter | undefined;
}

/** Queued requests with the parameters that their samplers need. */
interface Queued {
  readonly request: RunningRequest;
  readonly sampling: SamplingParams;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #queue: Queued[] = [];
  #running: Running[] = [];
  #wake: (() => void) | undefined;
  #isClosing = false;
  #lastFailure: unknown;
  readonly #loop: Promise<void>;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#loop = this.#run();
  }

  get queueLength(): number {
    return this.#queue.length;
  }

  get runningCount(): number {
    return this.#running.length;
  }

  /** Why the last step failed; undefined while steps succeed. */
  get lastFailure(): unknown {
    return this.#lastFailure;
  }

  enqueue(request: RunningRequest, sampling: SamplingParams): void {
    if (this.#isClosing) return request.fail(new LoraxError('SHUTTING_DOWN'));
    this.#queue.push({ request, sampling });
    this.#wake?.();
  }

  /** Finishes what is running and queued, takes nothing new, and ends. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#wake?.();
    await this.#loop;
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#dropCancelled();
      this.#admit();
      if (this.#running.length > 0) await this.#step();
      else if (this.#isClosing && this.#queue.length === 0) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  #dropCancelled(): void {
    for (const { request } of [...this.#queue, ...this.#running]) if (request.isCancelled) request.cancel();
    this.#leave();
    const waiting = this.#queue.filter(({ request }) => !request.isFinished);
    this.#queue.splice(0, this.#queue.length, ...waiting);
  }

  /** In order of arrival: a request that needs more cells than are free waits, and those behind it wait with it. */
  #admit(): void {
    const { kv, limits, makeSampler, observer } = this.#parts;
    let admittedCount = 0;
    while (this.#running.length < limits.maxBatchSize) {
      const next = this.#queue[0];
      const span = next && kv.take(next.request.cellCount);
      if (next === undefined || span === undefined) break;
      this.#queue.shift();
      const { request, sampling } = next;
      const sequence = request.start(span, makeSampler(sampling));
      this.#running.push({ request, sequence, drafter: request.makeDrafter(sequence) });
      admittedCount++;
    }
    if (admittedCount > 0) observer.onAdmit(admittedCount);
  }

  async #step(): Promise<void> {
    const { limits, observer } = this.#parts;
    const shares = planStep(
      this.#running.map(({ sequence }) => sequence),
      limits.maxBatchPrefillTokens,
    );
    const method = shares.some(({ sequence }) => sequence.isPrefilling) ? 'prefill' : 'decode';
    try {
      observer.onStep({ method, ...(await this.#compute(shares)) });
      this.#lastFailure = undefined;
    } catch (error) {
      this.#lastFailure = error;
      observer.onStepFailure(method);
      for (const { request } of this.#running) request.fail(stepFault(error));
    }
    this.#leave();
  }

  async #compute(shares: readonly StepShare[]): Promise<Omit<StepReport, 'method'>> {
    const { runner, drafting } = this.#parts;
    const begun = performance.now();
    const drafters = this.#drafters();
    const proposing = shares.flatMap(({ sequence }) => (sequence.isPrefilling ? [] : (drafters.get(sequence) ?? [])));
    const decodingCount = shares.filter(({ sequence }) => !sequence.isPrefilling).length;
    const promptRows = countPromptRows(shares);
    drafting.propose(proposing, { rowCount: decodingCount, tokenCount: decodingCount }, promptRows);
    const proposed = performance.now();
    const keepHidden = [...drafters.values()].some(({ heads }) => heads !== undefined);
    const { advances, ...result } = await runner.step(shares, { keepHidden });
    const stepped = performance.now();
    this.#emit(shares, advances);
    const emitted = performance.now();
    if (promptRows === 0) drafting.costs.ofSteps.learn(result.rowCount, emitted - begun);
    await this.#draft(shares, advances);
    const ended = performance.now();
    return {
      ...{ ...result, sequenceCount: shares.length },
      emissionMs: emitted - stepped,
      draftingMs: proposed - begun + ended - emitted,
      totalMs: ended - begun,
    };
  }

  /** Learns from the step, and lets the heads of those that go on guess what comes next. */
  async #draft(shares: readonly StepShare[], advances: StepResult['advances']): Promise<void> {
    const { drafting, observer } = this.#parts;
    const drafters = this.#drafters();
    const advanced = shares.flatMap(({ sequence }, segment) => {
      const advance = advances[segment]!;
      const drafter = drafters.get(sequence);
      if (drafter === undefined || advance instanceof Error || advance.chosen.length === 0) return [];
      return [{ drafter, segment, advance }];
    });
    drafting.learn(advanced);
    const decoding = new Set(this.#running.flatMap((running) => (isDecoding(running) ? [running.sequence] : [])));
    const goingOn = advanced.filter(({ drafter }) => decoding.has(drafter.sequence));
    try {
      await drafting.guess(goingOn, { rowCount: decoding.size, tokenCount: decoding.size });
    } catch (error) {
      observer.onDraftFailure(error);
    }
  }

  #drafters(): ReadonlyMap<Sequence, SequenceDrafter> {
    return new Map(this.#running.flatMap(({ sequence, drafter }) => (drafter ? [[sequence, drafter] as const] : [])));
  }

  #emit(shares: readonly StepShare[], advances: StepResult['advances']): void {
    const bySequence = new Map(this.#running.map(({ request, sequence }) => [sequence, request]));
    for (const [i, { sequence }] of shares.entries()) {
      const advance = advances[i]!;
      const request = bySequence.get(sequence)!;
      if (advance instanceof Error) request.fail(advance);
      else advanceRow(request, advance);
    }
  }

  /** Finished requests give their cells back. */
  #leave(): void {
    for (const { request, sequence } of this.#running) if (request.isFinished) this.#parts.kv.give(sequence.span);
    this.#running = this.#running.filter(({ request }) => !request.isFinished);
  }
}

/** Whether it gets another token with the next step. */
function isDecoding({ request, sequence }: Running): boolean {
  return !request.isFinished && !sequence.isPrefilling;
}

/** A step that found no memory failed its requests' generation: they themselves asked for no more than they may. */
function stepFault(error: unknown): unknown {
  if (!(error instanceof LoraxError) || error.code !== 'OUT_OF_MEMORY') return error;
  return new LoraxError('GENERATION', { reason: error.message }, { cause: error });
}

function countPromptRows(shares: readonly StepShare[]): number {
  return shares.reduce((sum, { sequence, tokenCount }) => sum + (sequence.isPrefilling ? tokenCount : 0), 0);
}

/** A fault in making text of one row's token concerns that row alone. */
function advanceRow(request: RunningRequest, advance: SequenceAdvance): void {
  try {
    request.advance(advance);
  } catch (error) {
    request.fail(error);
  }
}

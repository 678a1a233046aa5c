/**
 * Collects what the engine reports of its steps, with the time between them and how much of the cores this process had.
 * Knows no scenario.
 */

import type { VerifiedDraft } from '#server/engine/drafting/drafting-observer.ts';
import type { StepReport } from '#server/scheduler/scheduler.ts';
import type { EngineObserver } from '#server/serving/engine.ts';
import { CpuShare } from './cpu-share.ts';

export interface RecordedStep extends StepReport {
  /** From the end of the step before to this one's beginning; 0 for the first of a recording. */
  readonly loopMs: number;
  /** Nobody else used the cores meanwhile. */
  readonly isUndisturbed: boolean;
  readonly drafts: readonly VerifiedDraft[];
  /** In which draft heads ran, for the step that follows. */
  readonly headMs: number;
}

export class StepRecorder implements EngineObserver {
  #cpu = new CpuShare(1);
  #steps: RecordedStep[] = [];
  #loadMs: number[] = [];
  #drafts: readonly VerifiedDraft[] = [];
  #headMs = 0;
  #previousEnd: number | undefined;
  #onDecode: (() => void) | undefined;

  /** Forgets what was recorded so far. `threads` compute the steps to come. */
  begin(threads: number): void {
    this.#steps = [];
    this.#loadMs = [];
    this.#previousEnd = undefined;
    this.#cpu = new CpuShare(threads);
  }

  get steps(): readonly RecordedStep[] {
    return this.#steps;
  }

  /** How long each adapter took to load. */
  get adapterLoadMs(): readonly number[] {
    return this.#loadMs;
  }

  /** Settles after the next step that only generates. */
  nextDecode(): Promise<void> {
    return new Promise((resolve) => (this.#onDecode = resolve));
  }

  onStep(step: StepReport): void {
    const endedAt = performance.now();
    const loopMs = this.#previousEnd === undefined ? 0 : endedAt - step.totalMs - this.#previousEnd;
    const drafting = { drafts: this.#drafts, headMs: this.#headMs };
    this.#steps.push({ ...step, ...drafting, loopMs, isUndisturbed: this.#cpu.isUndisturbed() });
    this.#drafts = [];
    this.#headMs = 0;
    this.#previousEnd = endedAt;
    if (step.method === 'decode') this.#onDecode?.();
  }

  /** Comes before the step's own report, as does what its heads took. */
  onVerified(drafts: readonly VerifiedDraft[]): void {
    this.#drafts = drafts;
  }

  onGuessed(ms: number): void {
    this.#headMs = ms;
  }

  onAdapterLoaded(_adapter: unknown, durationMs: number): void {
    this.#loadMs.push(durationMs);
  }

  onAdmit(): void {}

  onStepFailure(): void {}

  onDraftFailure(): void {}

  onAdapterLoadFailed(): void {}

  onAdapterEvicted(): void {}
}

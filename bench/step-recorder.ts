/**
 * Collects what the engine reports of its steps, with the time between them and how much of the cores this process had.
 * Knows no scenario.
 */

import type { StepReport } from '#server/scheduler/scheduler.ts';
import type { EngineObserver } from '#server/serving/engine.ts';
import { CpuShare } from './cpu-share.ts';

export interface RecordedStep extends StepReport {
  /** From the end of the step before to this one's beginning; 0 for the first of a recording. */
  readonly loopMs: number;
  /** Nobody else used the cores meanwhile. */
  readonly isUndisturbed: boolean;
}

export class StepRecorder implements EngineObserver {
  #cpu = new CpuShare(1);
  #steps: RecordedStep[] = [];
  #loadMs: number[] = [];
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
    this.#steps.push({ ...step, loopMs, isUndisturbed: this.#cpu.isUndisturbed() });
    this.#previousEnd = endedAt;
    if (step.method === 'decode') this.#onDecode?.();
  }

  onAdapterLoaded(_adapter: unknown, durationMs: number): void {
    this.#loadMs.push(durationMs);
  }

  onAdmit(): void {}

  onStepFailure(): void {}

  onVerified(): void {}

  onGuessed(): void {}

  onAdapterLoadFailed(): void {}

  onAdapterEvicted(): void {}
}

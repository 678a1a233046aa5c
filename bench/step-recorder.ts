/** Collects what the scheduler reports of its steps, with the time between them. Knows no scenario. */

import type { StepReport } from '#server/scheduler/scheduler.ts';
import type { EngineObserver } from '#server/serving/engine.ts';

export interface RecordedStep extends StepReport {
  readonly endedAt: number;
  /** From the end of the step before to this one's beginning; undefined for the first of a recording. */
  readonly loopMs: number | undefined;
}

export class StepRecorder implements EngineObserver {
  #steps: RecordedStep[] = [];
  #previousEnd: number | undefined;

  /** What was recorded since the last call. */
  take(): RecordedStep[] {
    const steps = this.#steps;
    this.#steps = [];
    this.#previousEnd = undefined;
    return steps;
  }

  onStep(step: StepReport): void {
    const endedAt = performance.now();
    const loopMs = this.#previousEnd === undefined ? undefined : endedAt - step.totalMs - this.#previousEnd;
    this.#steps.push({ ...step, endedAt, loopMs });
    this.#previousEnd = endedAt;
  }

  onAdmit(): void {}

  onStepFailure(): void {}

  onAdapterLoaded(): void {}

  onAdapterLoadFailed(): void {}
}

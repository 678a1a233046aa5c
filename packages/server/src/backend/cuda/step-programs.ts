/**
 * Gives steps to the device: those of a usual shape from what was written down for the first of them, others written down
 * for themselves. Owns what was written down; knows nothing about results.
 */

import { LRUCache } from 'lru-cache';
import type { Arena } from './arena.ts';
import { RecordedStep, type StepRequest } from './recorded-step.ts';
import type { RowDevice } from './row-operations.ts';
import { layOutStep, type StepLayout } from './step-layout.ts';
import type { StepResults } from './step-output.ts';
import { fillUp, shapeOf, type StepShape } from './step-shape.ts';

/** Shapes that are remembered: every usual number of rows with and without adapters, drafts and sampled rows. */
const MAX_SHAPES = 128;

export interface GivenStep {
  /** Rows that only fill the step up are among it, behind all others. */
  readonly layout: StepLayout;
  readonly results: StepResults;
}

export class StepPrograms {
  readonly #arena: Arena;
  readonly #makeDevice: () => RowDevice;
  readonly #recorded = new LRUCache<string, RecordedStep>({
    max: MAX_SHAPES,
    dispose: (recorded) => recorded.dispose(),
  });

  /** `makeDevice` begins a new program. */
  constructor(arena: Arena, makeDevice: () => RowDevice) {
    this.#arena = arena;
    this.#makeDevice = makeDevice;
  }

  /** The step is done when the stream is; its results hold until the next one. */
  give(step: StepRequest): GivenStep {
    const shape = shapeOf(step.segments, step.options);
    return shape === undefined ? this.#giveOnce(step) : this.#giveOften(step, shape);
  }

  /** Once the device is idle. */
  dispose(): void {
    this.#recorded.clear();
  }

  #giveOnce(step: StepRequest): GivenStep {
    const layout = layOutStep(step.segments);
    const recorded = new RecordedStep(this.#makeDevice(), step, layout, true);
    recorded.runOnce(this.#arena, nameOf(layout));
    return { layout, results: recorded.results };
  }

  #giveOften(step: StepRequest, { rowCount, key }: StepShape): GivenStep {
    const layout = layOutStep(fillUp(step.segments, rowCount, step.kv.spareCell));
    let recorded = this.#recorded.get(key);
    if (!recorded?.isOf(step)) {
      recorded = new RecordedStep(this.#makeDevice(), step, layout, false);
      this.#recorded.set(key, recorded);
    }
    recorded.runOften(layout, this.#arena, nameOf(layout));
    return { layout, results: recorded.results };
  }
}

function nameOf({ tokens }: StepLayout): string {
  return `a step of ${tokens.length} rows`;
}

/**
 * Gives steps to the devices: those of a usual shape from what was written down for the first of them, others written down
 * for themselves. Owns what was written down; knows nothing about results.
 */

import { LRUCache } from 'lru-cache';
import type { StepSegment } from '../step.ts';
import { RecordedStep, type ShardGroup, type StepRequest } from './recorded-step.ts';
import { layoutAt } from './shards/sharded-slot.ts';
import { layOutStep, type StepLayout } from './step-layout.ts';
import type { StepResults } from './step-output.ts';
import { fillUp, shapedRows, shapeKey } from './step-shape.ts';
import type { CudaValue } from './values.ts';

/** Shapes that are remembered: every usual number of rows with and without adapters, drafts and sampled rows. */
const MAX_SHAPES = 128;

export interface GivenStep {
  /** Rows that only fill the step up are among it, behind all others. */
  readonly layout: StepLayout;
  /** In the memory of the first shard. */
  readonly results: StepResults;
  /** In every shard's memory, where the step kept them. */
  readonly hidden: readonly (CudaValue | undefined)[];
}

export class StepPrograms {
  readonly #group: ShardGroup;
  readonly #recorded = new LRUCache<string, RecordedStep>({
    max: MAX_SHAPES,
    dispose: (recorded) => recorded.dispose(),
  });

  constructor(group: ShardGroup) {
    this.#group = group;
  }

  /** The step is done when all streams are; its results hold until the next one. */
  give(step: StepRequest): GivenStep {
    const rowCount = shapedRows(step.segments);
    return rowCount === undefined ? this.#giveOnce(step) : this.#giveOften(step, rowCount);
  }

  /** Once the devices are idle. */
  dispose(): void {
    this.#recorded.clear();
  }

  #giveOnce(step: StepRequest): GivenStep {
    const layouts = this.#layOut(step.segments);
    const recorded = new RecordedStep(this.#group, step, layouts, true);
    recorded.runOnce(nameOf(layouts[0]!));
    return resultsOf(recorded, layouts);
  }

  #giveOften(step: StepRequest, rowCount: number): GivenStep {
    const layouts = this.#layOut(fillUp(step.segments, rowCount, step.kv.spareCell));
    // What decides it is the same on all shards.
    const key = shapeKey(layouts[0]!, step.options);
    let recorded = this.#recorded.get(key);
    if (!recorded?.isOf(step)) {
      recorded = new RecordedStep(this.#group, step, layouts, false);
      this.#recorded.set(key, recorded);
    }
    recorded.runOften(layouts, nameOf(layouts[0]!));
    return resultsOf(recorded, layouts);
  }

  /** By shard. */
  #layOut(segments: readonly StepSegment[]): StepLayout[] {
    const layout = layOutStep(segments);
    return this.#group.shards.map((_, shard) => layoutAt(layout, shard));
  }
}

function resultsOf({ results, hidden }: RecordedStep, layouts: readonly StepLayout[]): GivenStep {
  return { layout: layouts[0]!, results, hidden };
}

function nameOf({ tokens }: StepLayout): string {
  return `a step of ${tokens.length} rows`;
}

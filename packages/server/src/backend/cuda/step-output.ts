/** A computed step's results, read from the device row by row and only where asked. */

import { assert } from '../../base/assert.ts';
import type { BestToken, DrawnToken, StepOutput, StepTimes } from '../step.ts';
import type { Driver } from './driver.ts';
import { DeviceRows } from './device-rows.ts';
import { RowChoices, type ChoiceSlab } from './row-choices.ts';
import type { StepLayout } from './step-layout.ts';
import type { CudaValue } from './values.ts';

export interface StepResults {
  readonly logits: CudaValue;
  /** Only where the step reduced or drew. */
  readonly chosen: ChoiceSlab | undefined;
  /** Only where the step kept them. */
  readonly hidden: CudaValue | undefined;
}

export class CudaStepOutput implements StepOutput {
  readonly times: StepTimes;
  /** Hidden states that drafts go on from. */
  readonly hiddenRows: DeviceRows | undefined;
  readonly #logits: DeviceRows;
  readonly #firstOutputs: readonly number[];
  readonly #choices: RowChoices | undefined;

  constructor(driver: Driver, layout: StepLayout, { logits, chosen, hidden }: StepResults, times: StepTimes) {
    this.times = times;
    this.#firstOutputs = layout.firstOutputs;
    this.#logits = new DeviceRows(driver, logits);
    this.hiddenRows = hidden && new DeviceRows(driver, hidden);
    this.#choices = chosen && new RowChoices(driver, chosen);
  }

  logits(segment: number, output: number): Float32Array {
    return this.#logits.row(this.outputRow(segment, output));
  }

  best(segment: number, output: number): BestToken {
    assert(this.#choices, 'the step was asked to reduce');
    return this.#choices.best(this.outputRow(segment, output));
  }

  drawn(segment: number, output: number): DrawnToken | undefined {
    return this.#choices?.drawn(this.outputRow(segment, output));
  }

  hidden(segment: number, output: number): Float32Array {
    assert(this.hiddenRows, 'the step was asked to keep hidden states');
    return this.hiddenRows.copyRow(this.outputRow(segment, output));
  }

  /** Among the output rows of all segments. */
  outputRow(segment: number, output: number): number {
    return this.#firstOutputs[segment]! + output;
  }
}

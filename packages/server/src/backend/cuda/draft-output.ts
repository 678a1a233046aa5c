/** A computed draft's results. */

import type { BestToken, DraftOutput, StepTimes } from '../step.ts';
import type { Driver } from './driver.ts';
import { DeviceRows } from './device-rows.ts';
import { RowChoices, type ChoiceSlab } from './row-choices.ts';
import type { CudaValue } from './values.ts';

export class CudaDraftOutput implements DraftOutput {
  readonly times: StepTimes;
  readonly #logits: DeviceRows;
  readonly #choices: RowChoices;

  constructor(driver: Driver, logits: CudaValue, chosen: ChoiceSlab, times: StepTimes) {
    this.times = times;
    this.#logits = new DeviceRows(driver, logits);
    this.#choices = new RowChoices(driver, chosen);
  }

  best(row: number): BestToken {
    return this.#choices.best(row);
  }

  logits(row: number): Float32Array {
    return this.#logits.row(row);
  }
}

/** A computed step's results, read from the device row by row and only where asked. */

import { assert } from '../../base/assert.ts';
import type { BestToken, StepOutput, StepTimes } from '../step.ts';
import type { Driver } from './driver.ts';
import { DeviceRows, readInto, type BestSlabs } from './logits.ts';
import type { StepLayout } from './step-layout.ts';
import type { CudaValue } from './values.ts';

export interface StepResults {
  readonly logits: CudaValue;
  /** Only where the step reduced. */
  readonly best: BestSlabs | undefined;
  /** Only where the step kept them. */
  readonly hidden: CudaValue | undefined;
}

export class CudaStepOutput implements StepOutput {
  readonly times: StepTimes;
  /** Hidden states that drafts go on from. */
  readonly hiddenRows: DeviceRows | undefined;
  readonly #logits: DeviceRows;
  readonly #firstOutputs: readonly number[];
  readonly #ids: Int32Array;
  readonly #logprobs: Float32Array;

  constructor(driver: Driver, layout: StepLayout, { logits, best, hidden }: StepResults, times: StepTimes) {
    this.times = times;
    this.#firstOutputs = layout.firstOutputs;
    this.#logits = new DeviceRows(driver, logits);
    this.hiddenRows = hidden && new DeviceRows(driver, hidden);
    const count = best === undefined ? 0 : logits.rows;
    this.#ids = new Int32Array(count);
    this.#logprobs = new Float32Array(count);
    if (best === undefined) return;
    readInto(driver, this.#ids, best.ids.address);
    readInto(driver, this.#logprobs, best.logprobs.address);
  }

  logits(segment: number, output: number): Float32Array {
    return this.#logits.row(this.outputRow(segment, output));
  }

  best(segment: number, output: number): BestToken {
    assert(this.#ids.length > 0, 'the step was asked to reduce');
    const row = this.outputRow(segment, output);
    return { id: this.#ids[row]!, logprob: this.#logprobs[row]! };
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

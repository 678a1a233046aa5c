/** A computed draft's results. */

import type { BestToken, DraftOutput, StepTimes } from '../step.ts';
import type { Driver } from './driver.ts';
import { DeviceRows, readInto, type BestSlabs } from './logits.ts';
import type { CudaValue } from './values.ts';

export class CudaDraftOutput implements DraftOutput {
  readonly times: StepTimes;
  readonly #logits: DeviceRows;
  readonly #ids: Int32Array;
  readonly #logprobs: Float32Array;

  constructor(driver: Driver, logits: CudaValue, best: BestSlabs, times: StepTimes) {
    this.times = times;
    this.#logits = new DeviceRows(driver, logits);
    this.#ids = readInto(driver, new Int32Array(logits.rows), best.ids.address);
    this.#logprobs = readInto(driver, new Float32Array(logits.rows), best.logprobs.address);
  }

  best(row: number): BestToken {
    return { id: this.#ids[row]!, logprob: this.#logprobs[row]! };
  }

  logits(row: number): Float32Array {
    return this.#logits.row(row);
  }
}

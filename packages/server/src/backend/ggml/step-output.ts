/** Reads a computed step's results out of ggml, row by row and only where asked. */

import { assert } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { BestToken, StepOutput, StepTimes } from '../step.ts';
import type { Ggml } from './functions.ts';
import type { StepLayout } from './step-layout.ts';

const FLOAT_BYTES = 4;

export interface OutputTensors {
  /** `[vocab, outputs]`. */
  readonly logits: Pointer;
  readonly vocabSize: number;
  /** Made only where the step reduces: best token of each output row, int32 `[outputs]`. */
  readonly best: Pointer | undefined;
  /** Softmax of the logits, `[vocab, outputs]`. */
  readonly probabilities: Pointer | undefined;
  /** Made only where the step keeps them, `[hidden, outputs]`. */
  readonly hidden: Pointer | undefined;
  readonly hiddenSize: number;
}

/** Memory for the rows that a step's reader asks for; every step writes over the last one's. */
export class LogitsBuffer {
  readonly #rows: Float32Array[] = [];

  row(index: number, vocabSize: number): Float32Array {
    return (this.#rows[index] ??= new Float32Array(vocabSize));
  }
}

export class GgmlStepOutput implements StepOutput {
  readonly times: StepTimes;
  readonly #ggml: Ggml;
  readonly #tensors: OutputTensors;
  /** First output row of each segment, in the caller's order. */
  readonly #firstOutputs: readonly number[];
  readonly #rows = new Map<number, Float32Array>();
  readonly #buffer: LogitsBuffer;
  readonly #best: Int32Array;

  constructor(ggml: Ggml, layout: StepLayout, tensors: OutputTensors, times: StepTimes, buffer: LogitsBuffer) {
    this.#buffer = buffer;
    this.#ggml = ggml;
    this.#tensors = tensors;
    this.times = times;
    const firstOutputs: number[] = [];
    for (const { index, firstOutput } of layout.segments) firstOutputs[index] = firstOutput;
    this.#firstOutputs = firstOutputs;
    this.#best = new Int32Array(layout.outputs.rowCount);
    if (tensors.best && this.#best.length > 0) ggml.tensorGet(tensors.best, this.#best, 0, this.#best.byteLength);
  }

  logits(segment: number, output: number): Float32Array {
    const row = this.#row(segment, output);
    const known = this.#rows.get(row);
    if (known) return known;
    const { logits, vocabSize } = this.#tensors;
    const values = this.#buffer.row(row, vocabSize);
    this.#ggml.tensorGet(logits, values, row * values.byteLength, values.byteLength);
    this.#rows.set(row, values);
    return values;
  }

  best(segment: number, output: number): BestToken {
    const { probabilities, vocabSize } = this.#tensors;
    assert(probabilities, 'the step was not asked to reduce');
    const row = this.#row(segment, output);
    const id = this.#best[row]!;
    const probability = new Float32Array(1);
    this.#ggml.tensorGet(probabilities, probability, (row * vocabSize + id) * FLOAT_BYTES, FLOAT_BYTES);
    return { id, logprob: Math.log(probability[0]!) };
  }

  hidden(segment: number, output: number): Float32Array {
    const { hidden, hiddenSize } = this.#tensors;
    assert(hidden, 'the step was asked to keep hidden states');
    const values = new Float32Array(hiddenSize);
    this.#ggml.tensorGet(hidden, values, this.#row(segment, output) * values.byteLength, values.byteLength);
    return values;
  }

  #row(segment: number, output: number): number {
    return this.#firstOutputs[segment]! + output;
  }
}

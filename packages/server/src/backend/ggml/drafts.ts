/** Runs drafts: picks the kept hidden states of a step's rows, and goes on from there. Knows no heads. */

import type { DraftForward } from '../backend.ts';
import type { BestToken, DraftOutput, DraftRow, StepTimes } from '../step.ts';
import type { Pointer } from '../../native/ffi.ts';
import { DeviceGraph, type GraphDevice } from './device-graph.ts';
import { GgmlDraftGraph } from './draft-graph.ts';
import { GGML_TYPE, type Ggml } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import { makeValue, type GgmlValue } from './row-operations.ts';
import { makeRowSet } from './row-set.ts';
import type { GgmlStepOutput } from './step-output.ts';

interface DraftTensors {
  /** `[vocab, rows]`. */
  readonly logits: GgmlValue;
  /** Int32 `[rows]`. */
  readonly best: Pointer;
  /**
   * Softmax of the logits, `[vocab, rows]`. One number of each row is read; it takes a sum over the whole row, which ggml computes
   * in no quicker way.
   */
  readonly probabilities: Pointer;
}

export class Drafts {
  readonly #ggml: Ggml;
  readonly #graph: DeviceGraph;

  constructor(device: GraphDevice) {
    this.#ggml = device.ggml;
    this.#graph = new DeviceGraph(device);
  }

  async run(forward: DraftForward, rows: readonly DraftRow[], step: GgmlStepOutput): Promise<DraftOutput> {
    const begun = performance.now();
    const tensors = this.#graph.build(`a draft from ${rows.length} rows`, (context) =>
      this.#build(context, forward, rows, step),
    );
    const built = performance.now();
    await this.#graph.compute();
    const times = { buildMs: built - begun, computeMs: performance.now() - built };
    return new GgmlDraftOutput(this.#ggml, tensors, times);
  }

  dispose(): void {
    this.#graph.dispose();
  }

  #build(context: GraphContext, forward: DraftForward, rows: readonly DraftRow[], step: GgmlStepOutput): DraftTensors {
    // Copied, because ggml would take the whole step for a part of the draft's graph.
    const hidden = rows.map(({ segment, output }) => step.hidden(segment, output));
    const width = hidden[0]!.length;
    const values = new Float32Array(width * rows.length);
    for (const [i, row] of hidden.entries()) values.set(row, i * width);
    const input = context.input(GGML_TYPE.float32, width, rows.length, values);
    const rowSet = makeRowSet(rows.map(({ adapters }) => ({ adapters, rowCount: 1 })));
    const logits = forward(new GgmlDraftGraph(context), makeValue(input, width, rowSet)) as GgmlValue;
    const best = this.#ggml.argmax(context.claim(1), logits.tensor);
    const probabilities = this.#ggml.softMax(context.claim(1), logits.tensor);
    for (const output of [logits.tensor, best, probabilities]) {
      this.#ggml.setOutput(output);
      context.expand(output);
    }
    return { logits, best, probabilities };
  }
}

class GgmlDraftOutput implements DraftOutput {
  readonly times: StepTimes;
  readonly #ggml: Ggml;
  readonly #tensors: DraftTensors;
  readonly #best: Int32Array;

  constructor(ggml: Ggml, tensors: DraftTensors, times: StepTimes) {
    this.times = times;
    this.#ggml = ggml;
    this.#tensors = tensors;
    this.#best = new Int32Array(tensors.logits.rows);
    ggml.tensorGet(tensors.best, this.#best, 0, this.#best.byteLength);
  }

  best(row: number): BestToken {
    const { probabilities, logits } = this.#tensors;
    const id = this.#best[row]!;
    const probability = new Float32Array(1);
    const offset = (row * logits.width + id) * Float32Array.BYTES_PER_ELEMENT;
    this.#ggml.tensorGet(probabilities, probability, offset, probability.byteLength);
    return { id, logprob: Math.log(probability[0]!) };
  }

  logits(row: number): Float32Array {
    const { tensor, width } = this.#tensors.logits;
    const values = new Float32Array(width);
    this.#ggml.tensorGet(tensor, values, row * values.byteLength, values.byteLength);
    return values;
  }
}

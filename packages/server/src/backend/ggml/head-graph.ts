/**
 * One head's forward pass and its gradients over a batch of rows, written out in ggml's operations. With p the softmax
 * of the logits, y what enters the output layer L, and s the weight of a row's loss:
 * `dL/dlogits = s (p - onehot(label))`, so `dy = s (L^T p - L[label])`; no one-hot matrix is ever made.
 * Knows neither optimizer nor data.
 */

import type { Pointer } from '../../native/ffi.ts';
import { GGML_TYPE } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import type { BlockTensors, HeadTensors, ParameterTensors } from './head-parameters.ts';
import { makeOperand, multiply } from './products.ts';
import type { GgmlWeight } from './weights.ts';

/** Labels among the five largest logits count as guessed, where there are so many. */
const TOP_COUNT = 5;

/** The frozen output layer, `[vocab, hidden]`, and the same numbers transposed: ggml multiplies along rows only. */
export interface FrozenOutput {
  readonly weight: GgmlWeight;
  readonly transposed: GgmlWeight;
}

export interface HeadInputs {
  readonly hidden: Pointer; // [hidden, rows]
  readonly rowCount: number;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly topCount: number;
}

interface Pass {
  /** What entered each block. */
  readonly inputs: readonly Pointer[];
  /** Each block's `W x + b`. */
  readonly sums: readonly Pointer[];
  /** What the last block gave, `[hidden, rows]`. */
  readonly y: Pointer;
  /** `[vocab, rows]`. */
  readonly probabilities: Pointer;
}

/** Inputs of the gradients alone: one that no operation reads would get no memory. */
interface Targets {
  /** Of each row's label, `[rows]`. */
  readonly labels: Pointer;
  /** Weight of each row's loss, 0 where it has no label, `[1, rows]`. */
  readonly scale: Pointer;
  readonly ones: Pointer; // [1, rows]
}

export interface HeadOutputs {
  /** Probability of each row's label, float32 `[rows]`. */
  readonly labelled: Pointer;
  /** Int32 `[rows]`. */
  readonly best: Pointer;
  /** Int32 `[topCount, rows]`, in no order. */
  readonly top: Pointer;
}

export function headInputs(
  context: GraphContext,
  hidden: Float32Array,
  hiddenSize: number,
  vocabSize: number,
): HeadInputs {
  const rowCount = hidden.length / hiddenSize;
  return {
    hidden: context.input(GGML_TYPE.float32, hiddenSize, rowCount, hidden),
    ...{ rowCount, hiddenSize, vocabSize, topCount: Math.min(TOP_COUNT, vocabSize) },
  };
}

export class HeadGraph {
  readonly #context: GraphContext;
  readonly #inputs: HeadInputs;
  readonly #head: HeadTensors;
  readonly #frozen: FrozenOutput;
  readonly #labels: Int32Array;
  readonly #pass: Pass;
  readonly outputs: HeadOutputs;

  /** `labels` are tokens; rows without one hold 0 and are left out by whoever reads the outputs. */
  constructor(context: GraphContext, inputs: HeadInputs, head: HeadTensors, frozen: FrozenOutput, labels: Int32Array) {
    this.#context = context;
    this.#inputs = inputs;
    this.#head = head;
    this.#frozen = frozen;
    this.#labels = labels;
    const { logits, ...pass } = this.#forward();
    this.#pass = pass;
    this.outputs = this.#makeOutputs(logits);
  }

  /** Adds the gradients of `sum over rows of scales[row] * loss` to those of the head's parameters. */
  backward(scales: Float32Array): void {
    const { rowCount } = this.#inputs;
    const row = (values: Float32Array): Pointer => this.#context.input(GGML_TYPE.float32, 1, rowCount, values);
    const targets = {
      labels: this.#context.input(GGML_TYPE.int32, rowCount, 1, this.#labels),
      scale: row(scales),
      ones: row(new Float32Array(rowCount).fill(1)),
    };
    let dy = this.#outputGradient(targets);
    for (let layer = this.#head.blocks.length - 1; layer >= 0; layer--) dy = this.#blockGradient(layer, dy, targets);
  }

  #forward(): Pass & { logits: Pointer } {
    const { ggml } = this.#context;
    const inputs: Pointer[] = [];
    const sums: Pointer[] = [];
    let y = this.#inputs.hidden;
    for (const { weight, bias } of this.#head.blocks) {
      const context = this.#context.claim(4);
      const sum = ggml.add(context, ggml.mulMat(context, weight.value, y), bias.value);
      inputs.push(y);
      sums.push(sum);
      y = ggml.add(context, y, ggml.silu(context, sum));
    }
    const logits = this.#logits(y);
    const probabilities = ggml.softMax(this.#context.claim(1), logits);
    return { inputs, sums, y, logits, probabilities };
  }

  #logits(y: Pointer): Pointer {
    const { rowCount, vocabSize } = this.#inputs;
    const { output } = this.#head;
    if (output) return this.#context.ggml.mulMat(this.#context.claim(1), output.value, y);
    const { weight } = this.#frozen;
    return multiply(this.#context, weight, makeOperand(this.#context, y, rowCount, weight), vocabSize);
  }

  #makeOutputs(logits: Pointer): HeadOutputs {
    const { ggml } = this.#context;
    const { rowCount, vocabSize, topCount } = this.#inputs;
    const places = this.#labels.map((label, row) => row * vocabSize + label);
    const indices = this.#context.input(GGML_TYPE.int32, rowCount, 1, places);
    const context = this.#context.claim(4);
    const flat = ggml.reshape2d(context, this.#pass.probabilities, 1, rowCount * vocabSize);
    const outputs = {
      labelled: ggml.getRows(context, flat, indices),
      best: ggml.argmax(context, logits),
      top: ggml.topK(context, logits, topCount),
    };
    for (const tensor of Object.values(outputs)) {
      ggml.setOutput(tensor);
      this.#context.expand(tensor);
    }
    return outputs;
  }

  /** `dy` of the head's last block; an own output layer takes its gradient on the way. */
  #outputGradient({ labels, scale }: Targets): Pointer {
    const { ggml } = this.#context;
    const { y } = this.#pass;
    const { output } = this.#head;
    if (output) {
      const context = this.#context.claim(3);
      const scaled = ggml.mul(context, y, scale);
      const atLabels = ggml.getRowsBack(context, scaled, labels, output.value);
      this.#gather(output, ggml.sub(context, this.#outer(scaled, this.#pass.probabilities), atLabels));
    }
    const expected = this.#expectedRows();
    const context = this.#context.claim(3);
    const labelRows = ggml.getRows(context, output?.value ?? this.#frozen.weight.tensor, labels);
    return ggml.mul(context, ggml.sub(context, expected, labelRows), scale);
  }

  /** `L^T p`, `[hidden, rows]`. */
  #expectedRows(): Pointer {
    const { rowCount, hiddenSize } = this.#inputs;
    const { output } = this.#head;
    const { probabilities } = this.#pass;
    if (output) return this.#transposedProduct(output, probabilities);
    const { transposed } = this.#frozen;
    const operand = makeOperand(this.#context, probabilities, rowCount, transposed);
    return multiply(this.#context, transposed, operand, hiddenSize);
  }

  /** Gathers the block's gradients; what comes back is `dx`, needed by the block before it. */
  #blockGradient(layer: number, dy: Pointer, { ones }: Targets): Pointer {
    const { ggml } = this.#context;
    const { weight, bias } = this.#head.blocks[layer] as BlockTensors;
    const dSum = ggml.siluBack(this.#context.claim(1), dy, this.#pass.sums[layer]!);
    this.#gather(weight, this.#outer(this.#pass.inputs[layer]!, dSum));
    this.#gather(bias, this.#outer(dSum, ones));
    if (layer === 0) return dy;
    return ggml.add(this.#context.claim(1), dy, this.#transposedProduct(weight, dSum));
  }

  /** `sum over rows of a b^T`: `[a, rows]` and `[b, rows]` give `[a, b]`. */
  #outer(a: Pointer, b: Pointer): Pointer {
    return this.#context.ggml.outProd(this.#context.claim(1), a, b);
  }

  #transposedProduct(parameter: ParameterTensors, x: Pointer): Pointer {
    const { ggml } = this.#context;
    const context = this.#context.claim(3);
    return ggml.mulMat(context, ggml.cont(context, ggml.transpose(context, parameter.value)), x);
  }

  #gather(parameter: ParameterTensors, gradient: Pointer): void {
    this.#context.expand(this.#context.ggml.addInplace(this.#context.claim(1), parameter.gradient, gradient));
  }
}

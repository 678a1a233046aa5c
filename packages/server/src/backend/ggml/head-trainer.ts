/**
 * Training of Medusa heads on ggml's CPU device, on a backend of its own: gradients are gathered batch by batch, then
 * one AdamW update moves the parameters. Knows no data, no schedule and no file.
 */

import { assert } from '../../base/assert.ts';
import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES } from '../../weights/tensor-view.ts';
import {
  IGNORED_LABEL,
  type AdamWUpdate,
  type HeadBatch,
  type HeadParameter,
  type HeadScore,
  type HeadsOptions,
  type HeadsShape,
  type HeadTrainer,
  type ParameterPart,
} from '../training.ts';
import { DeviceGraph, type GraphDevice } from './device-graph.ts';
import { bindSetThreads, GGML_TYPE } from './functions.ts';
import type { GgmlOptions } from './ggml-backend.ts';
import type { GraphContext } from './graph-context.ts';
import { HeadGraph, headInputs, type FrozenOutput, type HeadInputs } from './head-graph.ts';
import { HeadParameters } from './head-parameters.ts';
import { loadGgml } from './library.ts';
import { TensorContext } from './tensor-context.ts';
import type { GgmlWeight } from './weights.ts';

/** Below every normal float32: what a probability of 0 counts as, so that one row cannot make the loss infinite. */
const MIN_PROBABILITY = 2 ** -126;

/** A trainer on the device of these options; the output layer must be held by a ggml backend of the same library. */
export async function openHeadTrainer(device: GgmlOptions, options: HeadsOptions): Promise<HeadTrainer> {
  assert(options.outputLayer.bias === undefined, 'the output layer has no bias');
  const trainer = new GgmlHeadTrainer(device, options);
  try {
    await trainer.start();
    return trainer;
  } catch (error) {
    trainer.dispose();
    throw error;
  }
}

class GgmlHeadTrainer implements HeadTrainer {
  readonly shape: HeadsShape;
  updateCount = 0;
  readonly #device: GraphDevice;
  readonly #graph: DeviceGraph;
  readonly #parameters: HeadParameters;
  readonly #transposed: TensorContext;
  readonly #frozen: FrozenOutput;

  constructor({ path, threads, precision }: GgmlOptions, { outputLayer, ...heads }: HeadsOptions) {
    const { ggml, cpuDevice } = loadGgml(path);
    const backend = ggml.deviceInit(cpuDevice, null);
    bindSetThreads(ggml, ggml.deviceRegistry(cpuDevice))(backend, threads);
    this.#device = { ggml, backend, bufferType: ggml.backendBufferType(backend), precision };
    this.#graph = new DeviceGraph(this.#device);
    countHandle('head trainer', 1);
    const { inFeatures: hiddenSize, outFeatures: vocabSize } = outputLayer;
    this.shape = { ...heads, hiddenSize, vocabSize };
    this.#parameters = new HeadParameters(ggml, this.shape);
    const weight = outputLayer.weight as GgmlWeight;
    this.#transposed = new TensorContext(ggml, 1);
    this.#frozen = { weight, transposed: this.#declareTransposed(weight) };
  }

  /** Takes the memory, and fills what is derived from the base model's output layer. */
  async start(): Promise<void> {
    const { ggml, bufferType } = this.#device;
    const { weight, transposed } = this.#frozen;
    this.#parameters.allocate(bufferType);
    this.#transposed.allocate(bufferType);
    this.#graph.build('the output layer', (graph) => {
      const context = graph.claim(2);
      graph.expand(ggml.cpy(context, ggml.transpose(context, weight.tensor), transposed.tensor));
      for (const { output } of this.#parameters.heads) {
        if (output) graph.expand(ggml.cpy(graph.claim(1), weight.tensor, output.value));
      }
    });
    await this.#graph.compute();
  }

  get parameters(): readonly HeadParameter[] {
    return this.#parameters.all;
  }

  accumulate(batch: HeadBatch, weights: readonly number[]): Promise<readonly HeadScore[]> {
    return this.#run(batch, (graph, head) => {
      const scale = weights[head]!;
      graph.backward(Float32Array.from(batch.labels[head]!, (label) => (label === IGNORED_LABEL ? 0 : scale)));
    });
  }

  evaluate(batch: HeadBatch): Promise<readonly HeadScore[]> {
    return this.#run(batch, () => undefined);
  }

  async update({ weightDecay, ...update }: AdamWUpdate): Promise<void> {
    const { ggml } = this.#device;
    this.updateCount++;
    this.#graph.build('an update', (graph) => {
      const decaying = this.#adamWInput(graph, { ...update, weightDecay });
      const sparing = this.#adamWInput(graph, { ...update, weightDecay: 0 });
      for (const parameter of this.#parameters.all) {
        const { value, gradient, firstMoment, secondMoment, decays } = parameter;
        const settings = decays ? decaying : sparing;
        graph.expand(ggml.optStepAdamW(graph.claim(1), value, gradient, firstMoment, secondMoment, settings));
      }
    });
    await this.#graph.compute();
    this.#parameters.clearGradients();
  }

  read(name: string, part: ParameterPart): Float32Array {
    return this.#parameters.read(name, part);
  }

  write(name: string, part: ParameterPart, values: Float32Array): void {
    this.#parameters.write(name, part, values);
  }

  dispose(): void {
    this.#graph.dispose();
    this.#parameters.dispose();
    this.#transposed.dispose();
    this.#device.ggml.backendFree(this.#device.backend);
    countHandle('head trainer', -1);
  }

  async #run(batch: HeadBatch, extend: (graph: HeadGraph, head: number) => void): Promise<readonly HeadScore[]> {
    this.#check(batch);
    const { hiddenSize, vocabSize } = this.shape;
    const built = this.#graph.build(`a batch of ${batch.hidden.length / hiddenSize} rows`, (context) => {
      const inputs = headInputs(context, batch.hidden, hiddenSize, vocabSize);
      const heads = this.#parameters.heads.map((tensors, head) => {
        const labels = batch.labels[head]!.map((label) => (label === IGNORED_LABEL ? 0 : label));
        const graph = new HeadGraph(context, inputs, tensors, this.#frozen, labels);
        extend(graph, head);
        return graph;
      });
      return { inputs, heads };
    });
    await this.#graph.compute();
    return built.heads.map((head, index) => this.#score(head, built.inputs, batch.labels[index]!));
  }

  /** A wrong index would make ggml read beyond a matrix. */
  #check({ hidden, labels }: HeadBatch): void {
    const { hiddenSize, vocabSize, headCount } = this.shape;
    assert(hidden.length > 0 && hidden.length % hiddenSize === 0, 'a batch has whole rows');
    assert(labels.length === headCount, 'each head has its labels');
    for (const row of labels) {
      assert(row.length === hidden.length / hiddenSize, 'each row has its labels');
      for (const label of row)
        assert(label === IGNORED_LABEL || (label >= 0 && label < vocabSize), 'labels are tokens');
    }
  }

  #score({ outputs }: HeadGraph, { rowCount, topCount }: HeadInputs, labels: Int32Array): HeadScore {
    const { ggml } = this.#device;
    const labelled = new Float32Array(rowCount);
    const best = new Int32Array(rowCount);
    const top = new Int32Array(rowCount * topCount);
    ggml.tensorGet(outputs.labelled, labelled, 0, labelled.byteLength);
    ggml.tensorGet(outputs.best, best, 0, best.byteLength);
    ggml.tensorGet(outputs.top, top, 0, top.byteLength);
    const score = { lossSum: 0, count: 0, top1: 0, top5: 0 };
    for (const [row, label] of labels.entries()) {
      if (label === IGNORED_LABEL) continue;
      score.count++;
      score.lossSum -= Math.log(Math.max(labelled[row]!, MIN_PROBABILITY));
      if (best[row] === label) score.top1++;
      if (top.subarray(row * topCount, (row + 1) * topCount).includes(label)) score.top5++;
    }
    return score;
  }

  #adamWInput(graph: GraphContext, { learningRate, beta1, beta2, epsilon, weightDecay }: AdamWUpdate): Pointer {
    const corrections = [beta1, beta2].map((beta) => 1 / (1 - beta ** this.updateCount));
    const settings = [learningRate, beta1, beta2, epsilon, weightDecay, ...corrections];
    return graph.input(GGML_TYPE.float32, settings.length, 1, Float32Array.from(settings));
  }

  #declareTransposed(weight: GgmlWeight): GgmlWeight {
    const { hiddenSize, vocabSize } = this.shape;
    const tensor = this.#transposed.matrix(GGML_TYPE[weight.dtype], vocabSize, hiddenSize);
    const byteLength = hiddenSize * vocabSize * DTYPE_BYTES[weight.dtype];
    const dispose = (): void => this.#transposed.dispose();
    return {
      name: `${weight.name} transposed`,
      shape: [hiddenSize, vocabSize],
      tensor,
      dtype: weight.dtype,
      byteLength,
      dispose,
    };
  }
}

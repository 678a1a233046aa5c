/**
 * The parameters of Medusa heads in ggml, with their gradients and AdamW's moments; float32 all of them.
 * Knows their names and places, not how they are computed with.
 */

import { assert, present } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { HeadParameter, HeadsShape, ParameterPart } from '../training.ts';
import { GGML_TYPE, type Ggml } from './functions.ts';
import { TensorContext } from './tensor-context.ts';

const PARTS = ['value', 'gradient', 'firstMoment', 'secondMoment'] as const satisfies ParameterPart[];
const FLOAT_BYTES = 4;

/** Each tensor is `[in, out]` in ggml's order, a bias `[out, 1]`. */
export interface ParameterTensors extends HeadParameter, Readonly<Record<ParameterPart, Pointer>> {
  readonly byteLength: number;
  /** Biases are spared weight decay. */
  readonly decays: boolean;
}

export interface BlockTensors {
  readonly weight: ParameterTensors;
  readonly bias: ParameterTensors;
}

export interface HeadTensors {
  readonly blocks: readonly BlockTensors[];
  /** Undefined: the base model's output layer. */
  readonly output: ParameterTensors | undefined;
}

export class HeadParameters {
  readonly heads: readonly HeadTensors[];
  readonly all: readonly ParameterTensors[];
  readonly #ggml: Ggml;
  readonly #context: TensorContext;
  readonly #byName: ReadonlyMap<string, ParameterTensors>;

  constructor(ggml: Ggml, shape: HeadsShape) {
    const { headCount, layerCount, ownOutput } = shape;
    this.#ggml = ggml;
    this.#context = new TensorContext(ggml, PARTS.length * headCount * (2 * layerCount + 1));
    this.heads = Array.from({ length: headCount }, (_, head) => ({
      blocks: Array.from({ length: layerCount }, (_, layer) => this.#block(`${head}.${layer}.linear`, shape)),
      output: ownOutput ? this.#declare(`${head}.${layerCount}.weight`, shape.vocabSize, shape.hiddenSize) : undefined,
    }));
    this.all = this.heads.flatMap(({ blocks, output }) => [
      ...blocks.flatMap(({ weight, bias }) => [weight, bias]),
      ...(output ? [output] : []),
    ]);
    this.#byName = new Map(this.all.map((tensors) => [tensors.name, tensors]));
  }

  /** All zero: a block that adds nothing, so that a head begins as the base model's own guess. */
  allocate(bufferType: Pointer): void {
    this.#context.allocate(bufferType);
    for (const tensors of this.all) for (const part of PARTS) this.#clear(tensors, part);
  }

  read(name: string, part: ParameterPart): Float32Array {
    const tensors = this.#get(name);
    const values = new Float32Array(tensors.byteLength / FLOAT_BYTES);
    this.#ggml.tensorGet(tensors[part], values, 0, tensors.byteLength);
    return values;
  }

  write(name: string, part: ParameterPart, values: Float32Array): void {
    const tensors = this.#get(name);
    assert(values.byteLength === tensors.byteLength, `${name} has the values of its shape`);
    this.#ggml.tensorSet(tensors[part], values, 0, values.byteLength);
  }

  clearGradients(): void {
    for (const tensors of this.all) this.#clear(tensors, 'gradient');
  }

  dispose(): void {
    this.#context.dispose();
  }

  #block(path: string, { hiddenSize }: HeadsShape): BlockTensors {
    return {
      weight: this.#declare(`${path}.weight`, hiddenSize, hiddenSize),
      bias: this.#declare(`${path}.bias`, hiddenSize),
    };
  }

  #declare(name: string, outFeatures: number, inFeatures?: number): ParameterTensors {
    const make = (): Pointer =>
      inFeatures === undefined
        ? this.#context.matrix(GGML_TYPE.float32, outFeatures, 1)
        : this.#context.matrix(GGML_TYPE.float32, inFeatures, outFeatures);
    const value = make();
    this.#ggml.setParam(value);
    return {
      ...{ name, shape: inFeatures === undefined ? [outFeatures] : [outFeatures, inFeatures] },
      ...{ value, gradient: make(), firstMoment: make(), secondMoment: make() },
      byteLength: outFeatures * (inFeatures ?? 1) * FLOAT_BYTES,
      decays: inFeatures !== undefined,
    };
  }

  #get(name: string): ParameterTensors {
    return present(this.#byName.get(name), `parameter ${name}`);
  }

  #clear(tensors: ParameterTensors, part: ParameterPart): void {
    this.#ggml.tensorMemset(tensors[part], 0, 0, tensors.byteLength);
  }
}

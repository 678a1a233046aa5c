/**
 * The base model's weights on a device: vectors each in memory of its own, matrices one after the other so that neighbours
 * can be multiplied as one. Owns all of them.
 */

import { assert } from '../../base/assert.ts';
import type { TensorView } from '../../weights/tensor-view.ts';
import type { WeightOptions } from '../backend.ts';
import { mergeWeight, type LoadDevice } from './adapted-rows.ts';
import { WeightSpace } from './weight-space.ts';
import { uploadWeight, type CudaWeight, type TakeMemory } from './weights.ts';

export class BaseWeights {
  readonly #load: LoadDevice;
  readonly #matrices: WeightSpace;
  readonly #weights: CudaWeight[] = [];
  readonly #takeAlone: TakeMemory = (byteLength, what) => this.#load.device.allocate(byteLength, what);
  /** Matrices are given back all at once. */
  readonly #takePlace: TakeMemory = (byteLength, what) => {
    return { address: this.#matrices.take(byteLength, what), dispose: () => undefined };
  };

  constructor(load: LoadDevice) {
    this.#load = load;
    this.#matrices = new WeightSpace(load.device);
  }

  /** Vectors as float32, matrices as asked for. Throws OUT_OF_MEMORY naming the tensor. */
  async load(view: TensorView, { dtype = view.dtype, merged }: WeightOptions): Promise<CudaWeight> {
    const { length: dimensions } = view.shape;
    assert(dimensions === 1 || dimensions === 2, `${view.name} is a vector or a matrix`);
    const [type, take] =
      dimensions === 1 ? (['float32', this.#takeAlone] as const) : ([dtype, this.#takePlace] as const);
    const weight = merged
      ? await mergeWeight(this.#load, take, view, merged, type)
      : await uploadWeight(take, this.#load.uploader, view, type);
    this.#weights.push(weight);
    return weight;
  }

  dispose(): void {
    for (const weight of this.#weights) weight.dispose();
    this.#matrices.dispose();
  }
}

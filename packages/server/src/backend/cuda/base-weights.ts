/**
 * The base model's weights as one shard has them: vectors each in memory of its own, matrices or parts of them one after the
 * other, so that neighbours can be multiplied as one. Owns all of them.
 */

import { assert } from '../../base/assert.ts';
import type { TensorView } from '../../weights/tensor-view.ts';
import type { WeightOptions } from '../backend.ts';
import type { LoadDevice } from './adapted-rows.ts';
import { loadMatrix } from './shards/local-weight.ts';
import type { ShardPlace } from './shards/shard-place.ts';
import { WeightSpace } from './weight-space.ts';
import { uploadWeight, type CudaWeight, type TakeMemory } from './weights.ts';

export class BaseWeights {
  readonly #load: LoadDevice;
  readonly #shard: ShardPlace;
  readonly #matrices: WeightSpace;
  readonly #weights: CudaWeight[] = [];
  readonly #takeAlone: TakeMemory = (byteLength, what) => this.#load.device.allocate(byteLength, what);
  /** Matrices are given back all at once. */
  readonly #takePlace: TakeMemory = (byteLength, what) => {
    return { address: this.#matrices.take(byteLength, what), dispose: () => undefined };
  };

  constructor(load: LoadDevice, shard: ShardPlace) {
    this.#load = load;
    this.#shard = shard;
    this.#matrices = new WeightSpace(load.device);
  }

  /** Vectors whole and as float32, matrices as asked for. Throws OUT_OF_MEMORY naming the tensor. */
  async load(view: TensorView, { dtype = view.dtype, ...options }: WeightOptions): Promise<CudaWeight> {
    const { length: dimensions } = view.shape;
    assert(dimensions === 1 || dimensions === 2, `${view.name} is a vector or a matrix`);
    const weight =
      dimensions === 1
        ? await uploadWeight(this.#takeAlone, this.#load.uploader, view, 'float32')
        : await loadMatrix(this.#load, this.#takePlace, view, { ...options, dtype }, this.#shard);
    this.#weights.push(weight);
    return weight;
  }

  dispose(): void {
    for (const weight of this.#weights) weight.dispose();
    this.#matrices.dispose();
  }
}

/**
 * Memory for low-rank factors of adapters that enter the model at the same places. At each place the bank holds
 * A `[capacity, in]` and B transposed `[capacity, out]`, one row per rank, so that adapters lie side by side and
 * neighbours of equal rank multiply in one batched product. Knows nothing about steps.
 */

import { assert } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';
import { SpanAllocator } from '../../base/span-allocator.ts';
import { GGML_TYPE, type Ggml } from './functions.ts';
import { TensorContext } from './tensor-context.ts';
import type { Dtype } from '../../weights/tensor-view.ts';

interface BankPlace {
  readonly path: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

interface BankDevice {
  readonly ggml: Ggml;
  readonly bufferType: Pointer;
}

export interface BankTensors {
  /** `[in, capacity]` in ggml's order, stored as the bank's type. */
  readonly a: Pointer;
  /** `[out, capacity]` in ggml's order, float32: ggml's outer product reads nothing narrower at speed. */
  readonly bTransposed: Pointer;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export class AdapterBank {
  readonly id: number;
  readonly dtype: Dtype;
  readonly #context: TensorContext;
  readonly #places: ReadonlyMap<string, BankTensors>;
  readonly #ranks: SpanAllocator;
  #slotCount = 0;

  constructor(device: BankDevice, id: number, places: readonly BankPlace[], capacity: number, dtype: Dtype) {
    this.id = id;
    this.dtype = dtype;
    this.#context = new TensorContext(device.ggml, places.length * 2);
    this.#places = new Map(places.map((place) => [place.path, this.#declare(place, capacity, dtype)]));
    this.#ranks = new SpanAllocator(capacity);
    // Fresh pages stay untouched until an adapter's rows are written, so unused capacity costs no memory.
    if (places.length > 0) this.#context.allocate(device.bufferType);
  }

  at(path: string): BankTensors | undefined {
    return this.#places.get(path);
  }

  get isEmpty(): boolean {
    return this.#slotCount === 0;
  }

  /** Room for one adapter: the first of `extent` neighbouring rank rows, or undefined where no gap is as long. */
  take(extent: number): number | undefined {
    const offset = extent === 0 ? 0 : this.#ranks.take(extent);
    if (offset !== undefined) this.#slotCount++;
    return offset;
  }

  give(offset: number, extent: number): void {
    if (extent > 0) this.#ranks.give(offset, extent);
    this.#slotCount--;
  }

  dispose(): void {
    assert(this.isEmpty, 'an adapter bank is disposed while adapters lie in it');
    this.#context.dispose();
  }

  #declare(place: BankPlace, capacity: number, dtype: Dtype): BankTensors {
    const { inFeatures, outFeatures } = place;
    return {
      a: this.#context.matrix(GGML_TYPE[dtype], inFeatures, capacity),
      bTransposed: this.#context.matrix(GGML_TYPE.float32, outFeatures, capacity),
      inFeatures,
      outFeatures,
    };
  }
}

/**
 * Makes adapters resident: each in one piece of memory, its factors in the type that they are stored in. Loads go on beside
 * each other and beside steps.
 */

import { DTYPE_BYTES, elementCount, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import type { AdapterTensors } from '../adapters.ts';
import type { LoadDevice } from './adapted-rows.ts';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import { ENTRY_BYTES, type Places } from './adapter-table.ts';
import { alignedBytes } from './slab-plan.ts';
import { heldDtype, MARK_BYTES, SlotBuilder, type SumOverShards } from './slot-builder.ts';
import type { CudaWeight } from './weights.ts';

export class AdapterLoader {
  readonly #device: LoadDevice;
  readonly #places: Places;

  constructor(device: LoadDevice, places: Places) {
    this.#device = device;
    this.#places = places;
  }

  /** Shards load their parts of an adapter at the same time, and need each other; `sumOverShards` is undefined for one alone. */
  async load(tensors: AdapterTensors, sumOverShards: SumOverShards | undefined): Promise<CudaAdapterSlot> {
    for (const { at } of [...tensors.lowRank, ...tensors.replacements]) this.#places.claim(at.path);
    const slot = new SlotBuilder(
      ...([this.#device, this.#places, sumOverShards] as const),
      ...([mostTensors(tensors), this.byteLength(tensors)] as const),
    );
    try {
      for (const view of tensors.weights) await slot.hold(view);
      for (const replacement of tensors.replacements) await slot.replace(replacement);
      for (const factors of tensors.lowRank) await slot.add(factors);
      return await slot.finish();
    } catch (error) {
      slot.dispose();
      throw error;
    }
  }

  /** What `load` takes, table included. */
  byteLength(tensors: AdapterTensors): number {
    const { lowRank, replacements, weights } = tensors;
    const paths = new Set([...lowRank, ...replacements].map(({ at }) => at.path));
    const newCount = [...paths].filter((path) => this.#places.find(path) === undefined).length;
    const sizes = [(this.#places.count + newCount) * ENTRY_BYTES, mostTensors(tensors) * MARK_BYTES];
    for (const view of weights) sizes.push(bytesOf(view, heldDtype(view)));
    for (const { a, b, magnitude, bias } of lowRank) {
      sizes.push(bytesOf(a, a.dtype), bytesOf(b, b.dtype));
      for (const vector of [magnitude, bias]) if (vector) sizes.push(bytesOf(vector, 'float32'));
    }
    for (const { at, weight, bias } of replacements) {
      if (weight) sizes.push(bytesOf(weight, (at.weight as CudaWeight).dtype));
      if (bias) sizes.push(bytesOf(bias, 'float32'));
    }
    return sizes.reduce((sum, bytes) => sum + alignedBytes(bytes), 0);
  }
}

/** Factors with a magnitude each, whole weights, and those of its own. */
function mostTensors({ lowRank, replacements, weights }: AdapterTensors): number {
  return 3 * lowRank.length + replacements.length + weights.length;
}

function bytesOf({ shape }: TensorView, dtype: Dtype): number {
  return elementCount(shape) * DTYPE_BYTES[dtype];
}

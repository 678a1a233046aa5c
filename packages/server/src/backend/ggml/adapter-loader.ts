/**
 * Makes adapters resident: rank rows into a bank, scales folded into B, DoRA's factors computed, replacements copied.
 * Loads take turns after every tensor, with each other and with the event loop. Knows nothing about steps.
 */

import { DTYPE_BYTES, elementCount, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import { present } from '../../base/assert.ts';
import type { Projection } from '../backend.ts';
import type { AdapterTensors, LowRankTensors, ReplacementTensors } from '../adapters.ts';
import { AdapterBank } from './adapter-bank.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';
import { SlotBuilder, type LoaderDevice } from './slot-builder.ts';
import type { GgmlWeight } from './weights.ts';

/** Rank rows of a bank: eight adapters of rank 16, or whatever one large adapter needs. */
const BANK_CAPACITY = 128;

export class AdapterLoader {
  readonly #device: LoaderDevice;
  readonly #banks = new Map<string, AdapterBank[]>();
  #bankCount = 0;

  constructor(device: LoaderDevice) {
    this.#device = device;
  }

  async load(tensors: AdapterTensors): Promise<GgmlAdapterSlot> {
    const linear = tensors.lowRank.filter((factors) => factors.at.kind === 'linear');
    const extent = Math.max(0, ...linear.map((factors) => factors.rank));
    const { bank, offset } = this.#place(linear, extent, this.#bankDtype(tensors));
    const slot = new SlotBuilder(this.#device, bank, offset, extent);
    try {
      for (const view of tensors.weights) await slot.hold(view);
      for (const replacement of tensors.replacements) await slot.replace(replacement);
      for (const factors of tensors.lowRank) {
        await slot.add(factors);
        await new Promise((resolve) => setImmediate(resolve));
      }
      return slot.finish();
    } catch (error) {
      this.unload(slot.finish());
      throw error;
    }
  }

  /** What `load` would take, with room for the ends of buffers. */
  byteLength(tensors: AdapterTensors): number {
    const rankBytes = DTYPE_BYTES[this.#bankDtype(tensors)];
    const factors = tensors.lowRank.map((each) => factorBytes(each, rankBytes));
    const replaced = tensors.replacements.map(replacementBytes);
    const held = tensors.weights.map(heldBytes);
    return [...factors, ...replaced, ...held].reduce((sum, bytes) => sum + bytes, 0);
  }

  unload(slot: GgmlAdapterSlot): void {
    slot.disposeOwned();
    slot.bank.give(slot.offset, slot.extent);
    if (slot.bank.isEmpty) this.#closeBank(slot.bank);
  }

  dispose(): void {
    for (const bank of [...this.#banks.values()].flat()) bank.dispose();
    this.#banks.clear();
  }

  #place(
    linear: readonly LowRankTensors[],
    extent: number,
    dtype: Dtype,
  ): { readonly bank: AdapterBank; readonly offset: number } {
    const places = linear.map(({ at }) => at as Projection).sort((a, b) => (a.path < b.path ? -1 : 1));
    const key = `${dtype} ${places.map((place) => place.path).join(' ')}`;
    const banks = this.#banks.get(key) ?? [];
    for (const bank of banks) {
      const offset = bank.take(extent);
      if (offset !== undefined) return { bank, offset };
    }
    const capacity = Math.max(BANK_CAPACITY, extent);
    const bank = new AdapterBank(this.#device, this.#bankCount++, places, capacity, dtype);
    this.#banks.set(key, [...banks, bank]);
    return { bank, offset: present(bank.take(extent), 'room in a fresh bank') };
  }

  /** A is held as the base weight beside it, or in float32 where activations are not to be rounded. */
  #bankDtype(tensors: AdapterTensors): Dtype {
    const [first] = tensors.lowRank;
    return first === undefined || this.#device.precision === 'high' ? 'float32' : (first.at.weight as GgmlWeight).dtype;
  }

  #closeBank(bank: AdapterBank): void {
    for (const [key, banks] of this.#banks) {
      const rest = banks.filter((other) => other !== bank);
      if (rest.length === banks.length) continue;
      if (rest.length > 0) this.#banks.set(key, rest);
      else this.#banks.delete(key);
      bank.dispose();
    }
  }
}

/** ggml rounds each buffer up to a page at most. */
const BUFFER_ROUNDING = 4096;
const FLOAT_BYTES = 4;

/** A linear place's factors lie in a bank, an embedding's in buffers of their own; all but A are float32. */
function factorBytes({ at, rank, magnitude, bias }: LowRankTensors, rankBytes: number): number {
  const [inner, outer] = at.kind === 'linear' ? [at.inFeatures, at.outFeatures] : [at.vocabSize, at.hiddenSize];
  const vectors = (magnitude ? 1 : 0) + (bias ? 1 : 0);
  const aBytes = rank * inner * (at.kind === 'linear' ? rankBytes : FLOAT_BYTES);
  return aBytes + rank * outer * FLOAT_BYTES + vectors * outer * FLOAT_BYTES + 3 * BUFFER_ROUNDING;
}

function replacementBytes({ at, weight, bias }: ReplacementTensors): number {
  const dtype = (at.weight as GgmlWeight).dtype;
  const weightBytes = weight ? elementCount(weight.shape) * DTYPE_BYTES[dtype] : 0;
  return weightBytes + (bias ? elementCount(bias.shape) * FLOAT_BYTES : 0) + 2 * BUFFER_ROUNDING;
}

function heldBytes({ shape, dtype }: TensorView): number {
  return elementCount(shape) * (shape.length === 1 ? FLOAT_BYTES : DTYPE_BYTES[dtype]) + BUFFER_ROUNDING;
}

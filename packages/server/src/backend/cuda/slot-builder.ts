/** Writes one adapter's tensors into one piece of device memory, and the table of what they do. Steps do not see it before. */

import { assert } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES, elementCount, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import type { LowRankTensors, ReplacementTensors } from '../adapters.ts';
import type { Projection } from '../backend.ts';
import { finiteFloats, notFinite } from '../finite.ts';
import { adaptedNotFinite, measureRows, squareRows, type LoadDevice } from './adapted-rows.ts';
import type { CudaAdapterSlot, Reach } from './adapter-slot.ts';
import {
  ENTRY_BYTES,
  NO_ENTRY,
  packTable,
  type AdapterEntry,
  type DeviceTensor,
  type Places,
} from './adapter-table.ts';
import type { DeviceMemory } from './device-memory.ts';
import { readInto } from './device-rows.ts';
import { alignedBytes } from './slab-plan.ts';
import type { CudaWeight } from './weights.ts';

/** An int32 for each tensor, which the device sets. */
export const MARK_BYTES = 4;

/** Adds up what shards measured that have a part of every row of a weight each. */
export type SumOverShards = (path: string, values: Float32Array) => Promise<Float32Array>;

export class SlotBuilder {
  readonly #load: LoadDevice;
  readonly #places: Places;
  readonly #sumOverShards: SumOverShards | undefined;
  readonly #memory: DeviceMemory;
  readonly #entries = new Map<string, AdapterEntry>();
  readonly #weights = new Map<string, CudaWeight>();
  /** Sums of what each projection's output gains; made resident at the end. */
  readonly #biases = new Map<string, Float32Array>();
  /** Those that were brought, by the places of their marks. */
  readonly #names: string[] = [];
  readonly #faults: Pointer;
  #used = 0;
  #largestRank = 0;
  /** Of the factors at linear places. */
  readonly #factorDtypes = new Set<Dtype>();

  /** `byteLength` is enough for all that will be added, of which the first part marks up to `tensorCount` tensors. */
  constructor(
    load: LoadDevice,
    places: Places,
    sumOverShards: SumOverShards | undefined,
    tensorCount: number,
    byteLength: number,
  ) {
    this.#load = load;
    this.#places = places;
    this.#sumOverShards = sumOverShards;
    this.#memory = load.device.allocate(byteLength, 'an adapter');
    this.#faults = this.#take(tensorCount * MARK_BYTES);
    try {
      load.uploader.uploadBytes(new Int32Array(tensorCount), this.#faults);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** A weight of the adapter's own; vectors in float32, as everywhere. */
  async hold(view: TensorView): Promise<void> {
    const { name, shape } = view;
    const tensor = await this.#bring(view, heldDtype(view));
    const byteLength = elementCount(shape) * DTYPE_BYTES[tensor.dtype];
    this.#weights.set(name, { name, shape, ...tensor, byteLength, dispose: () => undefined });
  }

  async replace({ at, weight, bias }: ReplacementTensors): Promise<void> {
    const replacement = weight && (await this.#bring(weight, (at.weight as CudaWeight).dtype));
    if (bias && at.kind === 'linear') this.#addBias(at.path, difference(finiteFloats(bias), this.#baseBias(at)));
    this.#entries.set(at.path, { ...this.#entry(at.path), replacement });
  }

  async add(factors: LowRankTensors): Promise<void> {
    const { at, rank, scale, magnitude, bias } = factors;
    const [inner, outer] = at.kind === 'linear' ? [at.inFeatures, at.outFeatures] : [at.vocabSize, at.hiddenSize];
    assert(elementCount(factors.a.shape) === rank * inner, `A fits ${at.path}`);
    assert(elementCount(factors.b.shape) === rank * outer, `B fits ${at.path}`);
    const a = await this.#bring(factors.a, factors.a.dtype);
    const b = await this.#bring(factors.b, factors.b.dtype);
    const outputScale = magnitude && (await this.#measure(factors, a, b, magnitude));
    if (bias) {
      const addend = finiteFloats(bias).map((value) => value * scale);
      this.#addBias(at.path, addend);
    }
    if (at.kind === 'linear') {
      this.#largestRank = Math.max(this.#largestRank, rank);
      for (const { dtype } of [a, b]) this.#factorDtypes.add(dtype);
    }
    this.#entries.set(at.path, { ...this.#entry(at.path), rank, scale, a, b, outputScale });
  }

  /** The slot with all that was added. */
  async finish(): Promise<CudaAdapterSlot> {
    const { uploader } = this.#load;
    for (const [path, bias] of this.#biases) {
      const outputBias = this.#take(bias.byteLength);
      uploader.uploadBytes(bias, outputBias);
      this.#entries.set(path, { ...this.#entry(path), outputBias });
    }
    const byPlace = new Map([...this.#entries].map(([path, entry]) => [this.#places.claim(path), entry]));
    const entryCount = Math.max(-1, ...byPlace.keys()) + 1;
    const table = this.#take(entryCount * ENTRY_BYTES);
    if (entryCount > 0) uploader.uploadBytes(packTable(byPlace, entryCount), table);
    await uploader.stream.finish('loading an adapter');
    this.#checkFinite();
    return {
      byteLength: this.#memory.byteLength,
      weights: this.#weights,
      table,
      entryCount,
      largestRank: this.#largestRank,
      factorDtype: this.#factorDtypes.size === 1 ? [...this.#factorDtypes][0] : undefined,
      reach: this.#reach(),
      dispose: () => this.dispose(),
    };
  }

  dispose(): void {
    this.#memory.dispose();
  }

  #reach(): Reach {
    const pathsWhere = (isMeant: (entry: AdapterEntry) => boolean): string[] =>
      [...this.#entries].filter(([, entry]) => isMeant(entry)).map(([path]) => path);
    const replaced = pathsWhere(({ replacement }) => replacement !== undefined);
    const special = pathsWhere(({ replacement, outputScale, outputBias }) =>
      [replacement, outputScale, outputBias].some((part) => part !== undefined),
    );
    return this.#places.reach([...this.#entries.keys()], replaced, special);
  }

  #entry(path: string): AdapterEntry {
    return this.#entries.get(path) ?? NO_ENTRY;
  }

  async #bring(view: TensorView, dtype: Dtype): Promise<DeviceTensor> {
    const address = this.#take(elementCount(view.shape) * DTYPE_BYTES[dtype]);
    const fault = this.#faults + BigInt((this.#names.push(view.name) - 1) * MARK_BYTES);
    await this.#load.uploader.upload(view, address, dtype, fault);
    return { address, dtype };
  }

  /** A single NaN would fail every request of the adapter. Looked for on the device, where it costs nothing. */
  #checkFinite(): void {
    const marks = readInto(this.#load.device.driver, new Int32Array(this.#names.length), this.#faults);
    const first = marks.indexOf(1);
    if (first >= 0) throw notFinite(this.#names[first]!);
  }

  /** DoRA's factors on the base product. */
  async #measure(factors: LowRankTensors, a: DeviceTensor, b: DeviceTensor, magnitude: TensorView): Promise<Pointer> {
    const { at, rank, scale } = factors;
    const { address } = await this.#bring(magnitude, 'float32');
    await this.#load.uploader.stream.finish('loading an adapter');
    this.#checkFinite();
    const { name, shape, ...base } = at.weight as CudaWeight;
    const weight = { name, shape, ...(this.#entry(at.path).replacement ?? base) };
    const adaptation = { weight, a, b, rank, scale };
    const sum = this.#sumOverShards;
    if (sum === undefined || at.kind !== 'linear' || at.split !== 'inputs') {
      await measureRows(this.#load, { ...adaptation, magnitude: address }, address);
      return address;
    }
    const squares = await sum(at.path, await squareRows(this.#load, adaptation));
    const values = finiteFloats(magnitude).map((length, row) => length / Math.sqrt(squares[row]!));
    if (!values.every(Number.isFinite)) throw adaptedNotFinite(name);
    this.#load.uploader.uploadBytes(values, address);
    return address;
  }

  #addBias(path: string, addend: Float32Array): void {
    const bias = this.#biases.get(path);
    this.#biases.set(path, bias ? bias.map((value, i) => value + addend[i]!) : addend);
  }

  #baseBias(at: Projection): Float32Array {
    const values = new Float32Array(at.outFeatures);
    const bias = at.bias as CudaWeight | undefined;
    return bias ? readInto(this.#load.device.driver, values, bias.address) : values;
  }

  #take(bytes: number): Pointer {
    const address = this.#memory.address + BigInt(this.#used);
    this.#used += alignedBytes(bytes);
    assert(this.#used <= this.#memory.byteLength, 'an adapter fits the memory taken for it');
    return address;
  }
}

export function heldDtype({ shape, dtype }: TensorView): Dtype {
  return shape.length === 1 ? 'float32' : dtype;
}

function difference(values: Float32Array, base: Float32Array): Float32Array {
  return values.map((value, i) => value - base[i]!);
}

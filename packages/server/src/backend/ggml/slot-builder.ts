/**
 * Writes one adapter's tensors into its place: rank rows of a bank, and what the slot owns beside it.
 * Knows nothing about where the place came from.
 */

import { assert, present } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import type { LowRankTensors, ReplacementTensors } from '../adapters.ts';
import type { Projection } from '../backend.ts';
import type { AdapterBank } from './adapter-bank.ts';
import type { AdapterEntry, EmbeddingEntry, GgmlAdapterSlot } from './adapter-slot.ts';
import { readFactors, type FactorValues } from './adapted-rows.ts';
import { doraScales } from './dora.ts';
import { finiteFloats, requireFinite } from '../finite.ts';
import type { Ggml } from './functions.ts';
import { GGML_TYPE } from './functions.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { SideGraphs } from './side-graphs.ts';
import { TensorContext } from './tensor-context.ts';
import { copyWeight, type GgmlWeight } from './weights.ts';

export interface LoaderDevice {
  readonly ggml: Ggml;
  readonly bufferType: Pointer;
  readonly graphs: SideGraphs;
  readonly precision: MatmulPrecision;
}

const NOTHING: AdapterEntry = { rank: 0, outputScale: undefined, outputBias: undefined, replacement: undefined };

export class SlotBuilder {
  readonly #device: LoaderDevice;
  readonly #bank: AdapterBank;
  readonly #offset: number;
  readonly #extent: number;
  readonly #entries = new Map<string, AdapterEntry>();
  readonly #embeddings = new Map<string, EmbeddingEntry>();
  readonly #weights = new Map<string, GgmlWeight>();
  /** Sums of what each projection's output gains; made resident at the end. */
  readonly #biases = new Map<string, Float32Array>();
  readonly #owned: (() => void)[] = [];
  #byteLength = 0;

  constructor(device: LoaderDevice, bank: AdapterBank, offset: number, extent: number) {
    this.#device = device;
    this.#bank = bank;
    this.#offset = offset;
    this.#extent = extent;
  }

  async add(factors: LowRankTensors): Promise<void> {
    if (factors.at.kind === 'embedding') this.#addEmbedding(factors);
    else await this.#addLinear(factors, factors.at);
  }

  async replace({ at, weight, bias }: ReplacementTensors): Promise<void> {
    const replacement = weight && (await this.#copy(weight, (at.weight as GgmlWeight).dtype));
    if (at.kind === 'embedding') {
      this.#embeddings.set(at.path, { rank: 0, aTransposed: undefined, bTransposed: undefined, replacement });
      return;
    }
    if (bias) this.#addBias(at.path, difference(finiteFloats(bias), this.#baseBias(at)));
    this.#entries.set(at.path, { ...this.#entry(at.path), replacement });
  }

  /** A weight of the adapter's own; vectors in float32, as everywhere. */
  async hold(view: TensorView): Promise<void> {
    this.#weights.set(view.name, await this.#copy(view, view.shape.length === 1 ? 'float32' : view.dtype));
  }

  /** The slot with all that was added so far; a failed load disposes what it finds there. */
  finish(): GgmlAdapterSlot {
    for (const [path, bias] of this.#biases) {
      this.#entries.set(path, { ...this.#entry(path), outputBias: this.#own(bias) });
    }
    this.#biases.clear();
    return {
      byteLength: this.#byteLength,
      bank: this.#bank,
      offset: this.#offset,
      extent: this.#extent,
      entries: this.#entries,
      embeddings: this.#embeddings,
      weights: this.#weights,
      disposeOwned: () => this.#owned.forEach((dispose) => dispose()),
    };
  }

  async #addLinear(factors: LowRankTensors, at: Projection): Promise<void> {
    const { rank, scale } = factors;
    const values = readFactors(factors);
    const bTransposed = transposeScaled(values.b, rank, 1);
    assert(values.a.length === rank * at.inFeatures, `A fits ${at.path}`);
    assert(values.b.length === rank * at.outFeatures, `B fits ${at.path}`);
    let outputScale: Pointer | undefined;
    if (factors.magnitude) {
      const scales = await this.#doraScales(at, values, finiteFloats(factors.magnitude));
      scaleColumns(bTransposed, scales);
      outputScale = this.#own(scales);
    }
    if (factors.bias)
      this.#addBias(
        at.path,
        finiteFloats(factors.bias).map((value) => value * scale),
      );
    this.#entries.set(at.path, { ...this.#entry(at.path), rank, outputScale });
    this.#writeRanks(at.path, values.a, bTransposed);
  }

  #addEmbedding(factors: LowRankTensors): void {
    const { rank, scale, at } = factors;
    const a = finiteFloats(factors.a);
    const aTransposed = transposeScaled(a, a.length / rank, 1); // [vocab, rank]
    const bTransposed = transposeScaled(finiteFloats(factors.b), rank, scale); // [rank, hidden]
    this.#embeddings.set(at.path, {
      rank,
      aTransposed: this.#own(aTransposed, rank),
      bTransposed: this.#own(bTransposed, bTransposed.length / rank),
      replacement: this.#embeddings.get(at.path)?.replacement,
    });
  }

  #entry(path: string): AdapterEntry {
    return this.#entries.get(path) ?? NOTHING;
  }

  #writeRanks(path: string, a: Float32Array, bTransposed: Float32Array): void {
    const { ggml } = this.#device;
    const place = present(this.#bank.at(path), `bank tensors at ${path}`);
    const narrowed = narrow(ggml, a, this.#bank.dtype);
    const aOffset = this.#offset * place.inFeatures * DTYPE_BYTES[this.#bank.dtype];
    ggml.tensorSet(place.a, narrowed, aOffset, narrowed.byteLength);
    ggml.tensorSet(place.bTransposed, bTransposed, this.#offset * place.outFeatures * 4, bTransposed.byteLength);
    this.#byteLength += narrowed.byteLength + bTransposed.byteLength;
  }

  #doraScales(at: Projection, factors: FactorValues, magnitude: Float32Array): Promise<Float32Array> {
    const weight = this.#entry(at.path).replacement ?? (at.weight as GgmlWeight);
    return doraScales(this.#device.graphs, weight, factors, magnitude);
  }

  #addBias(path: string, addend: Float32Array): void {
    const bias = this.#biases.get(path);
    this.#biases.set(path, bias ? bias.map((value, i) => value + addend[i]!) : addend);
  }

  #baseBias(at: Projection): Float32Array {
    const values = new Float32Array(at.outFeatures);
    const bias = at.bias as GgmlWeight | undefined;
    if (bias) this.#device.ggml.tensorGet(bias.tensor, values, 0, values.byteLength);
    return values;
  }

  /** Floats of the slot's own, as a matrix with rows of `inner`, or one row. */
  #own(values: Float32Array, inner: number = values.length): Pointer {
    const context = new TensorContext(this.#device.ggml, 1);
    const tensor = context.matrix(GGML_TYPE.float32, inner, values.length / inner);
    this.#owned.push(() => context.dispose());
    this.#byteLength += context.allocate(this.#device.bufferType);
    this.#device.ggml.tensorSet(tensor, values, 0, values.byteLength);
    return tensor;
  }

  async #copy(view: TensorView, dtype: Dtype): Promise<GgmlWeight> {
    requireFinite(view);
    const weight = await copyWeight(this.#device.ggml, this.#device.bufferType, view, dtype);
    this.#owned.push(() => weight.dispose());
    this.#byteLength += weight.byteLength;
    return weight;
  }
}

/** `[rows, columns]` to `[columns, rows]`, each value times `scale`. */
function transposeScaled(values: Float32Array, columns: number, scale: number): Float32Array {
  const rows = values.length / columns;
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = values[row * columns + column]! * scale;
    }
  }
  return result;
}

/** Multiplies each row of `[rank, out]` by `[out]`, in place. */
function scaleColumns(values: Float32Array, factors: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i]! *= factors[i % factors.length]!;
}

function difference(values: Float32Array, base: Float32Array): Float32Array {
  return values.map((value, i) => value - base[i]!);
}

function narrow(
  ggml: Ggml,
  values: Float32Array,
  dtype: 'float32' | 'float16' | 'bfloat16',
): Float32Array | Uint16Array {
  if (dtype === 'float32') return values;
  const narrowed = new Uint16Array(values.length);
  const convert = dtype === 'float16' ? ggml.float32ToFloat16 : ggml.float32ToBfloat16;
  convert(values, narrowed, values.length);
  return narrowed;
}

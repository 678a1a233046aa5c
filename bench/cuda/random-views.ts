/**
 * Tensors of a model and of its adapters that all read the same random numbers in host memory: speed does not depend on
 * them, and they cost no time to make.
 */

import type { LowRankTensors } from '#server/backend/adapters.ts';
import type { EmbeddingTable, Projection } from '#server/backend/backend.ts';
import { addressOf, type Pointer } from '#server/native/ffi.ts';
import { DTYPE_BYTES, rowMajorStrides, type TensorFile, type TensorView } from '#server/weights/tensor-view.ts';
import { RandomWords } from '../random-tensors.ts';
import { projections, type Shape } from '../shapes.ts';

/** Random signs and mantissas, exponents from 2^-7 to 2^-5: two bfloat16 a word. */
const RANDOM_BITS = 0x80ff80ff;
const FIXED_BITS = 0x3c003c00;
const SEED = 1;

/** What addresses of tensors are rounded up to, as in a file. */
const ALIGNMENT = 64;

export class RandomViews implements TensorFile {
  readonly names: readonly string[];
  readonly byteLength = 0;
  readonly #matrix: Uint32Array;
  readonly #ones: Float32Array;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  #cursor = 0;

  constructor(shape: Shape) {
    const { hiddenSize, vocabSize } = shape;
    this.#shapes = tensorShapes(shape);
    this.names = [...this.#shapes.keys()];
    this.#matrix = new Uint32Array((vocabSize * hiddenSize) / 2);
    new RandomWords(SEED).write(this.#matrix, RANDOM_BITS, FIXED_BITS);
    this.#ones = new Float32Array(hiddenSize).fill(1);
  }

  /** The first of the numbers, bfloat16; as many as the token table has. */
  get address(): Pointer {
    return addressOf(this.#matrix.buffer as ArrayBuffer);
  }

  get(name: string): TensorView | undefined {
    const shape = this.#shapes.get(name);
    if (shape === undefined) return undefined;
    if (shape.length > 1) return this.#matrixView(name, shape, 0);
    const address = addressOf(this.#ones.buffer as ArrayBuffer);
    return { name, shape, dtype: 'float32', strides: rowMajorStrides(shape), address };
  }

  /** Factors for a linear place; one after the other in memory, as an adapter's are. */
  factors(at: Projection, rank: number): LowRankTensors {
    const a = this.#next(`${at.path}.a`, [rank, at.inFeatures]);
    const b = this.#next(`${at.path}.b`, [at.outFeatures, rank]);
    return { at, rank, scale: 1, a, b, magnitude: undefined, bias: undefined };
  }

  dispose(): void {}

  #next(name: string, shape: readonly [number, number]): TensorView {
    const bytes = shape[0] * shape[1] * DTYPE_BYTES.bfloat16;
    if (this.#cursor + bytes > this.#matrix.byteLength) this.#cursor = 0;
    const view = this.#matrixView(name, shape, this.#cursor);
    this.#cursor += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    return view;
  }

  #matrixView(name: string, shape: readonly number[], offset: number): TensorView {
    return { name, shape, dtype: 'bfloat16', strides: rowMajorStrides(shape), address: this.address + BigInt(offset) };
  }
}

/** The linear places of a loaded model's layers. */
export function layerProjections(places: ReadonlyMap<string, Projection | EmbeddingTable>): Projection[] {
  return [...places.values()].filter((place): place is Projection => {
    return place.kind === 'linear' && place.path.includes('.layers.');
  });
}

function tensorShapes(shape: Shape): Map<string, readonly number[]> {
  const { hiddenSize, vocabSize, layerCount } = shape;
  const layers = Array.from({ length: layerCount }, (_, layer) => `model.layers.${layer}`);
  const norms = layers.flatMap((path) => [`${path}.input_layernorm`, `${path}.post_attention_layernorm`]);
  return new Map<string, readonly number[]>([
    ...projections(shape).map(({ path, inFeatures, outFeatures }) => {
      return [`${path}.weight`, [outFeatures, inFeatures]] as const;
    }),
    ...[...norms, 'model.norm'].map((path) => [`${path}.weight`, [hiddenSize]] as const),
    ...['model.embed_tokens', 'lm_head'].map((path) => [`${path}.weight`, [vocabSize, hiddenSize]] as const),
  ]);
}

/** A tensor as it lies in a mapped file: where its bytes are and how to read them. Knows no file format and no device. */

export type Dtype = 'float32' | 'float16' | 'bfloat16';

export const DTYPE_BYTES: Readonly<Record<Dtype, number>> = { float32: 4, float16: 2, bfloat16: 2 };

export interface TensorView {
  /** The name in its file, for instance `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  readonly dtype: Dtype;
  /** Outermost dimension first, as PyTorch prints it. */
  readonly shape: readonly number[];
  /** In elements, one per dimension; row-major unless a pickled view says otherwise. */
  readonly strides: readonly number[];
  /** Address of the first element; valid while the file stays open. */
  readonly address: bigint;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Strides of a row-major tensor of this shape, in elements. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = Array.from(shape, () => 1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * shape[i + 1]!;
  return strides;
}

/** Named tensors of one folder: several shards and formats look alike from here. Owns the mappings until disposed. */
export interface TensorFile {
  readonly names: readonly string[];
  /** The tensor, or undefined where the file has none of that name. */
  get(name: string): TensorView | undefined;
  /** Bytes of tensor data on disk. */
  readonly byteLength: number;
  dispose(): void;
}

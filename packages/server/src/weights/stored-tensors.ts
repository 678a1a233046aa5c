/**
 * The tensors of one open file, whatever its format: views by name, and the mapping they point into.
 * Knows nothing about how the file was parsed.
 */
import { assert } from '../base/assert.ts';
import { fileFault, shown } from './file-fault.ts';
import type { TensorFile, TensorView } from './tensor-view.ts';

/** A tensor that is in the file, but of a type that no backend takes: only asking for it is an error. */
export interface UnreadableTensor {
  readonly name: string;
  /** The type as the file spells it. */
  readonly storedDtype: string;
}

export class StoredTensors implements TensorFile {
  readonly names: readonly string[];
  readonly byteLength: number;
  readonly #path: string;
  readonly #tensors: ReadonlyMap<string, TensorView | UnreadableTensor>;
  readonly #mapping: { dispose(): void };
  #disposed = false;

  /** Takes over the mapping. */
  constructor(
    path: string,
    tensors: ReadonlyMap<string, TensorView | UnreadableTensor>,
    byteLength: number,
    mapping: { dispose(): void },
  ) {
    this.names = [...tensors.keys()];
    this.byteLength = byteLength;
    this.#path = path;
    this.#tensors = tensors;
    this.#mapping = mapping;
  }

  /** Throws `FILE_INVALID` for a tensor whose type is not float32, float16 or bfloat16. */
  get(name: string): TensorView | undefined {
    assert(!this.#disposed, 'a tensor file is not used after dispose');
    const tensor = this.#tensors.get(name);
    if (tensor === undefined || 'address' in tensor) return tensor;
    throw fileFault(
      this.#path,
      `tensor ${shown(name)} has type ${tensor.storedDtype}; only float32, float16 and bfloat16 are read`,
    );
  }

  dispose(): void {
    this.#disposed = true;
    this.#mapping.dispose();
  }
}

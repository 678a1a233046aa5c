/** Keys and values in ggml: per layer two matrices `[width, cells]`. Holds them; knows nothing about who owns which cell. */

import type { Pointer } from '../../native/ffi.ts';
import type { KvShape, KvStore } from '../kv.ts';
import { GGML_TYPE, type Ggml } from './functions.ts';
import { TensorContext } from './tensor-context.ts';

export class GgmlKvStore implements KvStore {
  readonly shape: KvShape;
  readonly byteLength: number;
  readonly elementBytes: number;
  /** One per layer. */
  readonly keys: readonly Pointer[];
  /** One per layer. */
  readonly values: readonly Pointer[];
  readonly #context: TensorContext;

  constructor(ggml: Ggml, bufferType: Pointer, shape: KvShape) {
    this.shape = shape;
    this.elementBytes = shape.dtype === 'float16' ? 2 : 4;
    this.#context = new TensorContext(ggml, shape.layerCount * 2);
    const makeLayers = (): Pointer[] =>
      Array.from({ length: shape.layerCount }, () =>
        this.#context.matrix(GGML_TYPE[shape.dtype], shape.width, shape.cellCount),
      );
    this.keys = makeLayers();
    this.values = makeLayers();
    this.byteLength = this.#context.allocate(bufferType);
  }

  dispose(): void {
    this.#context.dispose();
  }
}

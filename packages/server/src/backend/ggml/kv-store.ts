/** Keys and values in ggml: per layer two matrices `[width, cells]`. Holds them; knows nothing about who owns which cell. */

import { copyBytes, type Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES } from '../../weights/tensor-view.ts';
import type { CellMove, KvDtype, KvShape, KvStore } from '../kv.ts';
import { GGML_TYPE, type Ggml } from './functions.ts';
import { TensorContext } from './tensor-context.ts';

/** Keys or values of all layers. */
export interface KvTensors {
  /** One per layer, `[width, cells]`. */
  readonly layers: readonly Pointer[];
  readonly dtype: KvDtype;
  readonly elementBytes: number;
}

/**
 * Products with keys are fastest over multiples of so many cells; what they give beyond those that a sequence sees is not
 * looked at. The store has as many more at its end.
 */
export const CELL_PADDING = 16;

export class GgmlKvStore implements KvStore {
  readonly shape: KvShape;
  /** Of its cells. */
  readonly byteLength: number;
  readonly keys: KvTensors;
  readonly values: KvTensors;
  readonly #ggml: Ggml;
  readonly #context: TensorContext;

  constructor(ggml: Ggml, bufferType: Pointer, shape: KvShape) {
    this.shape = shape;
    this.#ggml = ggml;
    this.#context = new TensorContext(ggml, shape.layerCount * 2);
    this.keys = this.#declare(shape.types.key);
    this.values = this.#declare(shape.types.value);
    this.#context.allocate(bufferType);
    const { layerCount, width, cellCount } = shape;
    this.byteLength = layerCount * width * cellCount * (this.keys.elementBytes + this.values.elementBytes);
  }

  moveCells(moves: readonly CellMove[]): void {
    for (const { layers, elementBytes } of [this.keys, this.values]) {
      const cellBytes = BigInt(this.shape.width * elementBytes);
      for (const layer of layers) {
        const start = this.#ggml.getData(layer);
        for (const { from, to } of moves) {
          copyBytes(start + BigInt(to) * cellBytes, start + BigInt(from) * cellBytes, Number(cellBytes));
        }
      }
    }
  }

  dispose(): void {
    this.#context.dispose();
  }

  #declare(dtype: KvDtype): KvTensors {
    const { layerCount, width, cellCount } = this.shape;
    const length = cellCount + CELL_PADDING;
    const layers = Array.from({ length: layerCount }, () => this.#context.matrix(GGML_TYPE[dtype], width, length));
    return { layers, dtype, elementBytes: DTYPE_BYTES[dtype] };
  }
}

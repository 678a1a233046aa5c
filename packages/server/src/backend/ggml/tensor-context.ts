/**
 * A ggml context with tensors that live longer than a step, and the one buffer that holds them.
 * Knows nothing about what the tensors mean.
 */

import { countHandle } from '../../base/handles.ts';
import { LoraxError } from '../../base/errors.ts';
import { NULL, type Pointer } from '../../native/ffi.ts';
import { GGML_TYPE, type Ggml, type GgmlType } from './functions.ts';

export class TensorContext {
  readonly #ggml: Ggml;
  readonly #context: Pointer;
  #buffer: Pointer = NULL;
  #isDisposed = false;

  constructor(ggml: Ggml, tensorCount: number) {
    this.#ggml = ggml;
    this.#context = ggml.init({
      mem_size: (tensorCount + 1) * ggml.tensorOverhead(),
      mem_buffer: NULL,
      no_alloc: true,
    });
    countHandle('ggml context', 1);
  }

  /** Shape `[inner, outer]`, as ggml counts dimensions. */
  matrix(type: GgmlType, inner: number, outer: number): Pointer {
    return this.#ggml.newTensor2d(this.#context, type, inner, outer);
  }

  /** Float32 vector. */
  vector(length: number): Pointer {
    return this.#ggml.newTensor1d(this.#context, GGML_TYPE.float32, length);
  }

  /** Gives every tensor its memory, with whatever it holds. Returns the bytes taken. */
  allocate(bufferType: Pointer): number {
    const buffer = this.#ggml.allocTensors(this.#context, bufferType);
    if (!buffer) {
      this.dispose();
      throw new LoraxError('OUT_OF_MEMORY', { what: 'tensors' });
    }
    this.#buffer = buffer;
    return this.#ggml.bufferSize(buffer);
  }

  /** May be called again: an allocation that failed has disposed the context before its owner does. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    if (this.#buffer !== NULL) this.#ggml.bufferFree(this.#buffer);
    this.#ggml.free(this.#context);
    countHandle('ggml context', -1);
  }
}

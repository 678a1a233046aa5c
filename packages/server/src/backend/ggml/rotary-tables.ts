/** Divisors of rotary angles as ggml wants them, one tensor per recipe, made once. */

import type { Pointer } from '../../native/ffi.ts';
import type { Rotary } from '../backend.ts';
import type { Ggml } from './functions.ts';
import { TensorContext } from './tensor-context.ts';

export class RotaryTables {
  readonly #ggml: Ggml;
  readonly #bufferType: Pointer;
  readonly #tables = new Map<Rotary, { readonly tensor: Pointer; readonly context: TensorContext }>();

  constructor(ggml: Ggml, bufferType: Pointer) {
    this.#ggml = ggml;
    this.#bufferType = bufferType;
  }

  /** `[headDim / 2]` float32, such that position / divisor is the angle. */
  divisors(rotary: Rotary): Pointer {
    const table = this.#tables.get(rotary) ?? this.#make(rotary);
    this.#tables.set(rotary, table);
    return table.tensor;
  }

  dispose(): void {
    for (const { context } of this.#tables.values()) context.dispose();
    this.#tables.clear();
  }

  #make({ inverseFrequencies }: Rotary): { readonly tensor: Pointer; readonly context: TensorContext } {
    const context = new TensorContext(this.#ggml, 1);
    const tensor = context.vector(inverseFrequencies.length);
    context.allocate(this.#bufferType);
    const divisors = inverseFrequencies.map((frequency) => 1 / frequency);
    this.#ggml.tensorSet(tensor, divisors, 0, divisors.byteLength);
    return { tensor, context };
  }
}

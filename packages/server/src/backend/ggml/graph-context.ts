/**
 * The ggml context of one graph, a step's or a smaller one: creates its tensors, counts them against the memory reserved for them (ggml would
 * end the process), and fills the inputs once the graph has memory. Can be used again and again.
 */

import { NULL, type Pointer } from '../../native/ffi.ts';
import type { Ggml, GgmlType } from './functions.ts';
import type { MatmulPrecision } from '../precision.ts';

/** Asks for a larger context; the step is built again in it. */
export class GraphFull extends Error {}

type InputData = Int32Array | BigInt64Array | Uint16Array | Float32Array;

export class GraphContext {
  readonly ggml: Ggml;
  readonly capacity: number;
  readonly precision: MatmulPrecision;
  readonly context: Pointer;
  readonly #inputs: { readonly tensor: Pointer; readonly data: InputData }[] = [];
  #graph: Pointer = NULL;
  #tensorCount = 0;

  constructor(ggml: Ggml, capacity: number, precision: MatmulPrecision) {
    this.ggml = ggml;
    this.precision = precision;
    this.capacity = capacity;
    const memory = capacity * ggml.tensorOverhead() + ggml.graphOverhead(capacity, false);
    this.context = ggml.init({ mem_size: memory, mem_buffer: NULL, no_alloc: true });
  }

  get graph(): Pointer {
    return this.#graph;
  }

  begin(): void {
    this.ggml.reset(this.context);
    this.#graph = this.ggml.newGraph(this.context, this.capacity - 1, false);
    this.#tensorCount = 1;
    this.#inputs.length = 0;
  }

  /** Every call that makes tensors goes through here: `count` of them are about to be made. */
  claim(count: number): Pointer {
    this.#tensorCount += count;
    if (this.#tensorCount >= this.capacity) throw new GraphFull();
    return this.context;
  }

  /** An input of shape `[inner, outer]` with its values. */
  input(type: GgmlType, inner: number, outer: number, data: InputData): Pointer {
    const tensor = this.ggml.newTensor2d(this.claim(1), type, inner, outer);
    this.ggml.setInput(tensor);
    this.#inputs.push({ tensor, data });
    return tensor;
  }

  /** Fixes a tensor's place in the order of computation: what writes in place must come before what reads. */
  expand(tensor: Pointer): void {
    this.ggml.expand(this.#graph, tensor);
  }

  fillInputs(): void {
    for (const { tensor, data } of this.#inputs) this.ggml.tensorSet(tensor, data, 0, data.byteLength);
  }

  dispose(): void {
    this.ggml.free(this.context);
  }
}

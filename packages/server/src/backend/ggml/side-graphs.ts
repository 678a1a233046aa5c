/**
 * Small computations beside the steps, on a backend of their own; one after the other, because a ggml backend runs one
 * graph at a time. Knows nothing about what is computed.
 */

import { LoraxError } from '../../base/errors.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { Ggml } from './functions.ts';
import { GraphContext } from './graph-context.ts';

/** Tensors of one graph, with room to spare. */
const CAPACITY = 32;

export class SideGraphs {
  readonly #ggml: Ggml;
  readonly #backend: Pointer;
  #last: Promise<unknown> = Promise.resolve();

  /** Nothing else may use `backend`. */
  constructor(ggml: Ggml, backend: Pointer) {
    this.#ggml = ggml;
    this.#backend = backend;
  }

  /** `build` makes the graph and returns what reads its results, once they are there. */
  run<T>(build: (graph: GraphContext) => () => T): Promise<T> {
    const running = this.#last.then(() => this.#runNow(build));
    this.#last = running.catch(() => undefined);
    return running;
  }

  async #runNow<T>(build: (graph: GraphContext) => () => T): Promise<T> {
    const ggml = this.#ggml;
    const graph = new GraphContext(ggml, CAPACITY, 'high');
    const allocator = ggml.graphAllocatorNew(ggml.backendBufferType(this.#backend));
    try {
      graph.begin();
      const read = build(graph);
      if (!ggml.graphAllocatorAlloc(allocator, graph.graph)) throw new LoraxError('OUT_OF_MEMORY', { what: 'tensors' });
      graph.fillInputs();
      const status = await ggml.compute(this.#backend, graph.graph);
      if (status !== 0) throw new Error(`the device reported status ${status} beside the steps`);
      return read();
    } finally {
      ggml.graphAllocatorFree(allocator);
      graph.dispose();
    }
  }
}

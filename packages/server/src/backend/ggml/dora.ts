/**
 * DoRA's factor on a projection's output: `magnitude / ||W + scale * B A||` per output row (arXiv 2402.09353, eq. 5).
 * Computed once, when an adapter is loaded.
 */

import { present } from '../../base/assert.ts';
import { NULL, type Pointer } from '../../native/ffi.ts';
import { GGML_TYPE, type Ggml } from './functions.ts';
import type { GgmlWeight } from './weights.ts';

/** Tensors of the little graph below, with room to spare. */
const NODE_COUNT = 32;

export interface DoraFactors {
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** `[rank, in]`. */
  readonly a: Float32Array;
  /** `[rank, out]`, scaled. */
  readonly bTransposed: Float32Array;
  /** `[out]`. */
  readonly magnitude: Float32Array;
}

/** Computes one place's scales at a time, because a ggml backend runs one graph at a time. */
export class DoraScales {
  readonly #ggml: Ggml;
  readonly #backend: Pointer;
  #last: Promise<unknown> = Promise.resolve();

  /** Nothing else may use `backend`. */
  constructor(ggml: Ggml, backend: Pointer) {
    this.#ggml = ggml;
    this.#backend = backend;
  }

  /** Returns `[out]`. */
  compute(weight: GgmlWeight, factors: DoraFactors): Promise<Float32Array> {
    const computing = this.#last.then(() => doraScale(this.#ggml, this.#backend, weight, factors));
    this.#last = computing.catch(() => undefined);
    return computing;
  }
}

async function doraScale(
  ggml: Ggml,
  backend: Pointer,
  weight: GgmlWeight,
  factors: DoraFactors,
): Promise<Float32Array> {
  const { rank, inFeatures, outFeatures } = factors;
  const memory = NODE_COUNT * ggml.tensorOverhead() + ggml.graphOverhead(NODE_COUNT, false);
  const context = ggml.init({ mem_size: memory, mem_buffer: NULL, no_alloc: true });
  const allocator = ggml.graphAllocatorNew(ggml.backendBufferType(backend));
  try {
    const input = (inner: number, outer: number): Pointer => {
      const tensor = ggml.newTensor2d(context, GGML_TYPE.float32, inner, outer);
      ggml.setInput(tensor);
      return tensor;
    };
    const a = input(inFeatures, rank);
    const b = input(outFeatures, rank);
    const delta = ggml.outProd(context, a, b); // [in, out]
    const adapted = ggml.add(context, delta, ggml.cast(context, weight.tensor, GGML_TYPE.float32));
    const norms = ggml.sqrt(context, ggml.sumRows(context, ggml.sqr(context, adapted))); // [1, out]
    ggml.setOutput(norms);
    const graph = ggml.newGraph(context, NODE_COUNT, false);
    ggml.expand(graph, norms);
    ggml.graphAllocatorAlloc(allocator, graph);
    ggml.tensorSet(a, factors.a, 0, factors.a.byteLength);
    ggml.tensorSet(b, factors.bTransposed, 0, factors.bTransposed.byteLength);
    await ggml.compute(backend, graph);
    const scale = new Float32Array(outFeatures);
    ggml.tensorGet(norms, scale, 0, scale.byteLength);
    return scale.map((norm, i) => present(factors.magnitude[i], 'magnitude') / norm);
  } finally {
    ggml.graphAllocatorFree(allocator);
    ggml.free(context);
  }
}

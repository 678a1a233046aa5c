/**
 * Rows of the weight that a low-rank adapter stands for, `W + scale * B A`, in float32 and a strip of them at a time, so
 * that a large vocabulary needs no second copy. Knows nothing about what becomes of them.
 */

import type { Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES } from '../../weights/tensor-view.ts';
import type { LowRankFactors } from '../adapters.ts';
import { finiteFloats } from '../finite.ts';
import { GGML_TYPE } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import type { GgmlWeight } from './weights.ts';

/** Elements of a strip: 16 MiB in float32. */
const STRIP_ELEMENTS = 1 << 22;

/** An adapter's values at one weight. */
export interface FactorValues {
  readonly rank: number;
  /** `[rank, in]`. */
  readonly a: Float32Array;
  /** `[out, rank]`, scaled. */
  readonly b: Float32Array;
}

/** Some rows of a weight. */
export interface Strip {
  readonly first: number;
  readonly count: number;
}

/** Throws FILE_INVALID naming a tensor whose values are not finite. */
export function readFactors({ rank, scale, a, b }: LowRankFactors): FactorValues {
  return { rank, a: finiteFloats(a), b: finiteFloats(b).map((value) => value * scale) };
}

export function* stripsOf({ shape }: GgmlWeight): Generator<Strip> {
  const [outFeatures, inFeatures] = shape as [number, number];
  const most = Math.max(1, Math.floor(STRIP_ELEMENTS / inFeatures));
  for (let first = 0; first < outFeatures; first += most) yield { first, count: Math.min(most, outFeatures - first) };
}

/** `[in, rows]` in ggml's order. */
export function adaptedRows(graph: GraphContext, weight: GgmlWeight, factors: FactorValues, strip: Strip): Pointer {
  const { ggml } = graph;
  const { rank, a, b } = factors;
  const { float32 } = GGML_TYPE;
  const ofRows = b.subarray(strip.first * rank, (strip.first + strip.count) * rank);
  const aTensor = graph.input(float32, a.length / rank, rank, a);
  const bTensor = graph.input(float32, rank, strip.count, ofRows);
  const context = graph.claim(4);
  const delta = ggml.outProd(context, aTensor, ggml.transpose(context, bTensor));
  return ggml.add(context, delta, ggml.cast(context, rowsOf(graph, weight, strip), float32));
}

/** What brings each row to its magnitude, `[1, rows]`: DoRA's `magnitude / ||row||` (arXiv 2402.09353, eq. 5). */
export function rowScales(graph: GraphContext, rows: Pointer, magnitude: Float32Array, strip: Strip): Pointer {
  const { ggml } = graph;
  const ofRows = magnitude.subarray(strip.first, strip.first + strip.count);
  const wanted = graph.input(GGML_TYPE.float32, 1, strip.count, ofRows);
  const context = graph.claim(4);
  return ggml.div(context, wanted, ggml.sqrt(context, ggml.sumRows(context, ggml.sqr(context, rows))));
}

/** The weight's own rows where they lie. */
export function rowsOf(graph: GraphContext, { tensor, shape, dtype }: GgmlWeight, { first, count }: Strip): Pointer {
  const inFeatures = shape[1]!;
  const rowBytes = inFeatures * DTYPE_BYTES[dtype];
  return graph.ggml.view2d(graph.claim(1), tensor, inFeatures, count, rowBytes, first * rowBytes);
}

/** Attention of one segment by ggml's own operator, which never holds all scores. Knows nothing about other segments. */

import type { Pointer } from '../../native/ffi.ts';
import type { AttentionShape } from '../backend.ts';
import type { GraphContext } from './graph-context.ts';
import type { GgmlKvStore, KvTensors } from './kv-store.ts';
import type { PlacedSegment } from './step-layout.ts';
import type { Visible, VisibleInputs } from './visible-cells.ts';

const FLOAT_BYTES = 4;

export interface SegmentInputs {
  readonly kv: GgmlKvStore;
  readonly inputs: VisibleInputs;
  readonly placed: PlacedSegment;
  readonly visible: Visible;
}

/** `q` holds all rows of the step, `[headDim * heads, rows]`; returns `[headDim, heads, segment's rows]`. */
export function attendByFlash(graph: GraphContext, segment: SegmentInputs, q: Pointer, shape: AttentionShape): Pointer {
  const { kv, inputs, placed, visible } = segment;
  const { headDim, headCount } = shape;
  const rowCount = placed.segment.tokens.length;
  const rowBytes = headDim * headCount * FLOAT_BYTES;
  const queries = graph.ggml.view3d(
    ...[graph.claim(1), q, headDim, rowCount, headCount, rowBytes, headDim * FLOAT_BYTES, placed.firstRow * rowBytes],
  );
  const keys = cellView(graph, kv.keys, segment, shape);
  const isExact = graph.precision === 'medium' || kv.values.dtype === 'float32';
  const values = isExact ? cellView(graph, kv.values, segment, shape) : wideView(graph, segment, shape);
  const mask = inputs.mask(placed, visible, shape.window, 1);
  return graph.ggml.flashAttention(graph.claim(1), queries, keys, values, mask, shape.scale, 0, 0);
}

/**
 * The values that a segment sees in float32, `[headDim * kvHeads, visible cells]`. Picked by their cells, because so ggml
 * converts eight at a time, and one by one where it copies.
 */
export function wideValues(
  graph: GraphContext,
  { kv, inputs, placed, visible }: SegmentInputs,
  { layer }: AttentionShape,
): Pointer {
  return graph.ggml.getRows(graph.claim(1), kv.values.layers[layer]!, inputs.cells(placed, visible));
}

/** `[headDim, visible cells, kvHeads]`. */
function cellView(
  graph: GraphContext,
  { layers, elementBytes }: KvTensors,
  { placed: { segment }, visible }: SegmentInputs,
  { layer, headDim, kvHeadCount }: AttentionShape,
): Pointer {
  const headBytes = headDim * elementBytes;
  const cellBytes = kvHeadCount * headBytes;
  const offset = (segment.firstCell + visible.first) * cellBytes;
  return graph.ggml.view3d(
    ...[graph.claim(1), layers[layer]!, headDim, visible.length, kvHeadCount, cellBytes, headBytes, offset],
  );
}

/** The same of the values: where they are float16 ggml sums them in float16 too, at four times the error of holding them so. */
function wideView(graph: GraphContext, segment: SegmentInputs, shape: AttentionShape): Pointer {
  const { headDim, kvHeadCount } = shape;
  const values = wideValues(graph, segment, shape);
  const headBytes = headDim * FLOAT_BYTES;
  return graph.ggml.view3d(
    ...[graph.claim(1), values, headDim, segment.visible.length, kvHeadCount, kvHeadCount * headBytes, headBytes, 0],
  );
}

/** Attention of one segment by ggml's own operator, which never holds all scores. Knows nothing about other segments. */

import type { Pointer } from '../../native/ffi.ts';
import type { AttentionShape } from '../backend.ts';
import { GGML_TYPE } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import type { GgmlKvStore, KvTensors } from './kv-store.ts';
import type { PlacedSegment } from './step-layout.ts';
import type { Masks, Visible } from './visible-cells.ts';

const FLOAT_BYTES = 4;

export interface SegmentInputs {
  readonly kv: GgmlKvStore;
  readonly masks: Masks;
  readonly placed: PlacedSegment;
  readonly visible: Visible;
}

/** `q` holds all rows of the step, `[headDim * heads, rows]`; returns `[headDim, heads, segment's rows]`. */
export function attendByFlash(
  graph: GraphContext,
  { kv, masks, placed, visible }: SegmentInputs,
  q: Pointer,
  shape: AttentionShape,
): Pointer {
  const { headDim, headCount } = shape;
  const rowCount = placed.segment.tokens.length;
  const rowBytes = headDim * headCount * FLOAT_BYTES;
  const queries = graph.ggml.view3d(
    ...[graph.claim(1), q, headDim, rowCount, headCount, rowBytes, headDim * FLOAT_BYTES, placed.firstRow * rowBytes],
  );
  const keys = cellView(graph, kv.keys, placed, visible, shape);
  const values = wideValues(graph, kv.values, cellView(graph, kv.values, placed, visible, shape));
  const mask = masks.get(placed, visible, shape.window, 1);
  return graph.ggml.flashAttention(graph.claim(1), queries, keys, values, mask, shape.scale, 0, 0);
}

/** `[headDim, visible cells, kvHeads]`. */
function cellView(
  graph: GraphContext,
  { layers, elementBytes }: KvTensors,
  { segment }: PlacedSegment,
  visible: Visible,
  { layer, headDim, kvHeadCount }: AttentionShape,
): Pointer {
  const headBytes = headDim * elementBytes;
  const cellBytes = kvHeadCount * headBytes;
  const offset = (segment.firstCell + visible.first) * cellBytes;
  return graph.ggml.view3d(
    ...[graph.claim(1), layers[layer]!, headDim, visible.length, kvHeadCount, cellBytes, headBytes, offset],
  );
}

/** Where values are float16 ggml sums them in float16 too, at four times the error of holding them so. */
function wideValues(graph: GraphContext, { dtype }: KvTensors, values: Pointer): Pointer {
  if (graph.precision === 'medium' || dtype === 'float32') return values;
  return graph.ggml.cast(graph.claim(1), values, GGML_TYPE.float32);
}

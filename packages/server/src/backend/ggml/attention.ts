/**
 * Attention of a step over the KV store: new keys and values go to their cells, then each sequence's rows attend to that
 * sequence's span of cells. A sequence's result depends on its own rows only, whatever else is in the step.
 */

import type { Pointer } from '../../native/ffi.ts';
import type { AttentionShape } from '../backend.ts';
import { attendDensely, isDense, placesOf, spreadQueries } from './dense-attention.ts';
import { attendByFlash, type SegmentInputs } from './flash-attention.ts';
import type { GraphContext } from './graph-context.ts';
import type { GgmlKvStore } from './kv-store.ts';
import type { PlacedSegment, StepLayout } from './step-layout.ts';
import { visibleCells, type VisibleInputs } from './visible-cells.ts';

const FLOAT_BYTES = 4;

export interface AttentionInputs {
  readonly kv: GgmlKvStore;
  readonly layout: StepLayout;
  /** `[rows]` int64: where each row's key and value go. */
  readonly cells: Pointer;
  readonly visible: VisibleInputs;
  /** For narrow heads, made with the first layer that has some: `[headDim * kvHeads, heads * rows]`. */
  places?: Pointer;
}

/** `q` is `[headDim * heads, rows]`; returns the same shape. Overwrites `q`, which has no further reader. */
export function attend(
  graph: GraphContext,
  inputs: AttentionInputs,
  q: Pointer,
  k: Pointer,
  v: Pointer,
  shape: AttentionShape,
): Pointer {
  const { kv, cells, layout } = inputs;
  const { ggml } = graph;
  const context = graph.claim(2);
  graph.expand(ggml.setRows(context, kv.keys.layers[shape.layer]!, k, cells));
  graph.expand(ggml.setRows(context, kv.values.layers[shape.layer]!, v, cells));
  const width = shape.headCount * shape.headDim;
  const attendSegment = chooseAttention(graph, inputs, q, shape);
  const [only] = layout.segments;
  if (layout.segments.length === 1) {
    const seen = ggml.cont(graph.claim(1), attendSegment(only!));
    return ggml.reshape2d(graph.claim(1), seen, width, layout.rows.rowCount);
  }
  for (const placed of layout.segments) {
    const rowCount = placed.segment.tokens.length;
    const rowBytes = width * FLOAT_BYTES;
    const target = ggml.view2d(graph.claim(1), q, width, rowCount, rowBytes, placed.firstRow * rowBytes);
    graph.expand(ggml.cpy(graph.claim(1), attendSegment(placed), target));
  }
  return q;
}

/** How a segment attends: `[headDim * heads, segment's rows]`, of any shape with as many elements in that order. */
function chooseAttention(
  graph: GraphContext,
  inputs: AttentionInputs,
  q: Pointer,
  shape: AttentionShape,
): (placed: PlacedSegment) => Pointer {
  const { kv, visible, layout } = inputs;
  let spread: Pointer | undefined;
  const spreadOnce = (): Pointer => {
    const { rowCount } = layout.rows;
    inputs.places ??= placesOf(graph, shape, rowCount);
    return (spread ??= spreadQueries(graph, q, inputs.places, shape, rowCount));
  };
  return (placed) => {
    const segment: SegmentInputs = { kv, inputs: visible, placed, visible: visibleCells(placed, shape.window) };
    const isNarrow = isDense(shape, placed.segment.tokens.length, segment.visible.length);
    return isNarrow ? attendDensely(graph, segment, spreadOnce(), shape) : attendByFlash(graph, segment, q, shape);
  };
}

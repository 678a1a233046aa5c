/**
 * Attention of a step over the KV store: new keys and values go to their cells, then each sequence's rows attend to that
 * sequence's span of cells. A sequence's result depends on its own rows only, whatever else is in the step.
 */

import type { Pointer } from '../../native/ffi.ts';
import type { AttentionShape } from '../backend.ts';
import { GGML_TYPE } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import type { GgmlKvStore, KvTensors } from './kv-store.ts';
import { rowDepths } from '../row-depths.ts';
import type { PlacedSegment, StepLayout } from './step-layout.ts';

const FLOAT_BYTES = 4;

const HALF_MINUS_INFINITY = 0xfc00;

export interface AttentionInputs {
  readonly kv: GgmlKvStore;
  readonly layout: StepLayout;
  /** `[rows]` int64: where each row's key and value go. */
  readonly cells: Pointer;
  /** Masks made so far in this step, by segment and window. */
  readonly masks: Map<string, Pointer>;
}

/** The cells that a segment sees: `length` cells from `first`, counted from the sequence's first token. */
interface Visible {
  readonly first: number;
  readonly length: number;
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
  const [only] = layout.segments;
  if (layout.segments.length === 1) {
    const seen = attendSegment(graph, inputs, q, only!, shape);
    return ggml.reshape2d(graph.claim(1), seen, width, layout.rows.rowCount);
  }
  for (const placed of layout.segments) {
    const rowCount = placed.segment.tokens.length;
    const rowBytes = width * FLOAT_BYTES;
    const seen = attendSegment(graph, inputs, q, placed, shape);
    const target = ggml.view2d(graph.claim(1), q, width, rowCount, rowBytes, placed.firstRow * rowBytes);
    const flat = ggml.reshape2d(graph.claim(1), seen, width, rowCount);
    graph.expand(ggml.cpy(graph.claim(1), flat, target));
  }
  return q;
}

function attendSegment(
  graph: GraphContext,
  inputs: AttentionInputs,
  q: Pointer,
  placed: PlacedSegment,
  shape: AttentionShape,
): Pointer {
  const { ggml } = graph;
  const { headDim, headCount } = shape;
  const rowCount = placed.segment.tokens.length;
  const rowBytes = headDim * headCount * FLOAT_BYTES;
  const visible = visibleCells(placed, shape.window);
  const context = graph.claim(2);
  const queries = ggml.view3d(
    ...[context, q, headDim, rowCount, headCount, rowBytes, headDim * FLOAT_BYTES, placed.firstRow * rowBytes],
  );
  const keys = cellView(graph, inputs.kv.keys, placed, visible, shape);
  const values = cellView(graph, inputs.kv.values, placed, visible, shape);
  const mask = rowCount > 1 ? causalMask(graph, inputs, placed, visible, shape.window) : null;
  return ggml.flashAttention(
    context,
    queries,
    keys,
    wideValues(graph, inputs.kv.values, values),
    mask,
    shape.scale,
    0,
    0,
  );
}

function visibleCells({ segment }: PlacedSegment, window: number | undefined): Visible {
  const end = segment.position + segment.tokens.length;
  const first = window === undefined ? 0 : Math.max(0, segment.position - window + 1);
  return { first, length: end - first };
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

/** The row of a tree and those of its segment that it follows. */
function branchOf(row: number, parents: readonly number[] = []): number[] {
  const branch: number[] = [];
  if (parents.length > 0) for (let at = row; at >= 0; at = parents[at]!) branch.push(at);
  return branch;
}

/** `[visible cells, rows]` float16: 0 where a row sees a cell, minus infinity elsewhere. */
function causalMask(
  graph: GraphContext,
  { masks }: AttentionInputs,
  { segment, index }: PlacedSegment,
  visible: Visible,
  window: number | undefined,
): Pointer {
  const key = `${index} ${window}`;
  const known = masks.get(key);
  if (known !== undefined) return known;
  const rowCount = segment.tokens.length;
  const data = new Uint16Array(visible.length * rowCount).fill(HALF_MINUS_INFINITY);
  const depths = rowDepths(segment);
  for (let row = 0; row < rowCount; row++) {
    const seen = data.subarray(row * visible.length, (row + 1) * visible.length);
    const oldest = window === undefined ? 0 : Math.max(0, segment.position + depths[row]! - window + 1);
    const newest = segment.parents === undefined ? segment.position + row + 1 : segment.position;
    seen.fill(0, Math.max(0, oldest - visible.first), Math.max(0, newest - visible.first));
    for (const other of branchOf(row, segment.parents)) {
      if (segment.position + depths[other]! >= oldest) seen[segment.position + other - visible.first] = 0;
    }
  }
  const mask = graph.input(GGML_TYPE.float16, visible.length, rowCount, data);
  masks.set(key, mask);
  return mask;
}

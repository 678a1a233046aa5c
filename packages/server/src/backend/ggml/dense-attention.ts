/**
 * Attention of narrow heads as matrix products over all key-value heads at once. ggml's attention takes 64 elements of a
 * head at a time and the rest one by one: heads of 32 cost it more than twice what these products do, although three
 * quarters of what they multiply is zero. Knows nothing about other segments.
 */

import type { Pointer } from '../../native/ffi.ts';
import type { AttentionShape } from '../backend.ts';
import { GGML_TYPE } from './functions.ts';
import { wideValues, type SegmentInputs } from './flash-attention.ts';
import type { GraphContext } from './graph-context.ts';
import { CELL_PADDING, type KvTensors } from './kv-store.ts';

const FLOAT_BYTES = 4;

/** ggml's attention takes so many elements of a head at a time. */
const WIDE_HEAD = 64;

/** Key-value heads that lie side by side, in elements: beyond, most of a product would be zeros. */
const MOST_WIDTH = 256;

/** From so many rows on ggml's attention works in tiles of its own. */
const FLASH_ROWS = 64;

/** Scores of one segment, in elements: 16 MiB. */
const MOST_SCORES = 1 << 22;

/** Whether the products pay for a segment of so many rows that sees so many cells. */
export function isDense({ headDim, headCount, kvHeadCount }: AttentionShape, rowCount: number, cells: number): boolean {
  const isNarrow = headDim % WIDE_HEAD !== 0 && headDim * kvHeadCount <= MOST_WIDTH;
  return isNarrow && rowCount < FLASH_ROWS && rowCount * headCount * (cells + CELL_PADDING) <= MOST_SCORES;
}

/**
 * Every head's query at the place of its key-value head in a cell, zeros elsewhere: from `[headDim * heads, rows]` to
 * `[headDim * kvHeads, heads * rows]`, for all rows of the step. `places` is 1 there, of the result's shape.
 */
export function spreadQueries(
  graph: GraphContext,
  q: Pointer,
  places: Pointer,
  { headDim, headCount }: AttentionShape,
  rowCount: number,
): Pointer {
  const { ggml } = graph;
  const context = graph.claim(2);
  return ggml.mul(context, places, ggml.reshape2d(context, q, headDim, headCount * rowCount));
}

/** What `spreadQueries` multiplies by, as an input of the step. */
export function placesOf(graph: GraphContext, shape: AttentionShape, rowCount: number): Pointer {
  const { headDim, headCount, kvHeadCount } = shape;
  const width = headDim * kvHeadCount;
  const data = new Float32Array(width * headCount * rowCount);
  for (let query = 0; query < headCount * rowCount; query++) {
    const start = query * width + kvHeadOf(query % headCount, shape) * headDim;
    data.fill(1, start, start + headDim);
  }
  return graph.input(GGML_TYPE.float32, width, headCount * rowCount, data);
}

/** `queries` are all rows' spread ones; returns `[headDim, heads of a kv head, kvHeads, segment's rows]`, not contiguous. */
export function attendDensely(
  graph: GraphContext,
  segment: SegmentInputs,
  queries: Pointer,
  shape: AttentionShape,
): Pointer {
  const { ggml } = graph;
  const { visible, placed, kv } = segment;
  const { headDim, headCount, kvHeadCount } = shape;
  const width = headDim * kvHeadCount;
  const rowCount = placed.segment.tokens.length;
  const probabilities = softMax(graph, segment, queries, shape);
  const context = graph.claim(3);
  const values =
    kv.values.dtype === 'float32'
      ? cellRows(graph, segment, kv.values, shape, visible.length)
      : wideValues(graph, segment, shape);
  const sums = ggml.outProd(context, values, ggml.transpose(context, probabilities));
  const groupSize = headCount / kvHeadCount;
  const queryBytes = width * FLOAT_BYTES;
  return ggml.view4d(
    ...[context, sums, headDim, groupSize, kvHeadCount, rowCount],
    ...[queryBytes, groupSize * queryBytes + headDim * FLOAT_BYTES, headCount * queryBytes, 0],
  );
}

/** `[visible cells, heads * rows]`. */
function softMax(graph: GraphContext, segment: SegmentInputs, queries: Pointer, shape: AttentionShape): Pointer {
  const { ggml } = graph;
  const { placed, visible, inputs, kv } = segment;
  const { headDim, headCount, kvHeadCount } = shape;
  const queryBytes = headDim * kvHeadCount * FLOAT_BYTES;
  const count = headCount * placed.segment.tokens.length;
  const padded = Math.ceil(visible.length / CELL_PADDING) * CELL_PADDING;
  const context = graph.claim(5);
  const own = ggml.view2d(
    ...[context, queries, headDim * kvHeadCount, count, queryBytes, placed.firstRow * headCount * queryBytes],
  );
  const scores = ggml.mulMat(context, cellRows(graph, segment, kv.keys, shape, padded), own);
  const seen = ggml.cont(context, ggml.view2d(context, scores, visible.length, count, padded * FLOAT_BYTES, 0));
  const mask = inputs.mask(placed, visible, shape.window, headCount);
  return ggml.softMaxExt(context, seen, mask, shape.scale, 0);
}

/** `[headDim * kvHeads, cells]`. */
function cellRows(
  graph: GraphContext,
  { placed: { segment }, visible }: SegmentInputs,
  { layers, elementBytes }: KvTensors,
  { layer, headDim, kvHeadCount }: AttentionShape,
  count: number,
): Pointer {
  const width = headDim * kvHeadCount;
  const cellBytes = width * elementBytes;
  const offset = (segment.firstCell + visible.first) * cellBytes;
  return graph.ggml.view2d(graph.claim(1), layers[layer]!, width, count, cellBytes, offset);
}

function kvHeadOf(head: number, { headCount, kvHeadCount }: AttentionShape): number {
  return Math.floor((head * kvHeadCount) / headCount);
}

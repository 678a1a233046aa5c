/** Adapters at the token embedding: replaced tables, and low-rank factors whose first half is looked up by token. */

import type { Pointer } from '../../native/ffi.ts';
import type { EmbeddingTable } from '../backend.ts';
import { weighted } from './adapter-products.ts';
import type { EmbeddingEntry } from './adapter-slot.ts';
import type { GraphContext } from './graph-context.ts';
import type { AdapterGroup, RowSet } from './row-set.ts';

const FLOAT_BYTES = 4;
const TOKEN_BYTES = 4;

/** Changes the rows of `y` (`[hidden, rows]`) whose adapter enters at the embedding. */
export function embedAdapters(
  graph: GraphContext,
  y: Pointer,
  tokens: Pointer,
  table: EmbeddingTable,
  rows: RowSet,
): void {
  for (const group of rows.groups) {
    const entry = group.slot.embeddings.get(table.path);
    if (entry !== undefined) embedGroup(graph, y, tokens, table.hiddenSize, group, entry);
  }
}

function embedGroup(
  graph: GraphContext,
  y: Pointer,
  tokens: Pointer,
  hiddenSize: number,
  { firstRow, rowCount, weight }: AdapterGroup,
  entry: EmbeddingEntry,
): void {
  const { ggml } = graph;
  const rowBytes = hiddenSize * FLOAT_BYTES;
  const context = graph.claim(7);
  const ids = ggml.view1d(context, tokens, rowCount, firstRow * TOKEN_BYTES);
  const target = ggml.view2d(context, y, hiddenSize, rowCount, rowBytes, firstRow * rowBytes);
  if (entry.replacement) graph.expand(ggml.cpy(context, ggml.getRows(context, entry.replacement.tensor, ids), target));
  if (entry.aTransposed === undefined || entry.bTransposed === undefined) return;
  const shrunk = weighted(graph, ggml.getRows(context, entry.aTransposed, ids), weight); // [rank, rows]
  const delta = ggml.outProd(context, entry.bTransposed, ggml.transpose(context, shrunk)); // [hidden, rows]
  graph.expand(ggml.addInplace(context, target, delta));
}

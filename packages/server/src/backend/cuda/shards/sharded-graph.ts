/** A step's graph on one shard: every operation on the shard's parts, with the other shards where results are everybody's. */

import type { AttentionShape, EmbeddingTable, Graph, Projection, Rotary, Value, Weight } from '../../backend.ts';
import type { LocalPlaces } from './local-places.ts';
import { linearTogether, type ShardRows } from './sharded-rows.ts';

export class ShardedGraph implements Graph {
  readonly #graph: Graph;
  readonly #places: LocalPlaces;
  readonly #rows: ShardRows;

  constructor(rows: ShardRows & { readonly graph: Graph }) {
    this.#graph = rows.graph;
    this.#places = rows.places;
    this.#rows = rows;
  }

  embed(table: EmbeddingTable): Value {
    return this.#graph.embed(this.#places.table(table));
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return linearTogether(this.#rows, x, projections);
  }

  rmsNorm(x: Value, weight: Weight, epsilon: number): Value {
    return this.#graph.rmsNorm(x, this.#places.weight(weight), epsilon);
  }

  rotary(x: Value, rotary: Rotary): Value {
    return this.#graph.rotary(x, rotary);
  }

  attention(q: Value, k: Value, v: Value, shape: AttentionShape): Value {
    return this.#graph.attention(q, k, v, this.#places.attention(shape));
  }

  gatedSilu(gate: Value, up: Value): Value {
    return this.#graph.gatedSilu(gate, up);
  }

  add(a: Value, b: Value): Value {
    return this.#graph.add(a, b);
  }

  outputRows(x: Value): Value {
    return this.#graph.outputRows(x);
  }
}

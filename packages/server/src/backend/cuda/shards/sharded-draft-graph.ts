/** A draft's graph on one shard: products on the shard's parts, with the other shards where results are everybody's. */

import type { DraftGraph, Projection, Value } from '../../backend.ts';
import { linearTogether, type ShardRows } from './sharded-rows.ts';

export class ShardedDraftGraph implements DraftGraph {
  readonly #graph: DraftGraph;
  readonly #rows: ShardRows;

  constructor(rows: ShardRows & { readonly graph: DraftGraph }) {
    this.#graph = rows.graph;
    this.#rows = rows;
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return linearTogether(this.#rows, x, projections);
  }

  add(a: Value, b: Value): Value {
    return this.#graph.add(a, b);
  }

  silu(x: Value): Value {
    return this.#graph.silu(x);
  }

  rows(x: Value, first: number, count: number): Value {
    return this.#graph.rows(x, first, count);
  }

  stack(values: readonly Value[]): Value {
    return this.#graph.stack(values);
  }

  addToHeads(x: Value, y: Value): Value {
    return this.#graph.addToHeads(x, y);
  }
}

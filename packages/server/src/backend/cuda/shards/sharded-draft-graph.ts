/** A draft's graph on one shard: products on the shard's parts, with the other shards where results are everybody's. */

import type { DraftGraph, Projection, Value } from '../../backend.ts';
import type { Program } from '../program.ts';
import type { LocalPlaces } from './local-places.ts';
import { linearTogether } from './sharded-rows.ts';

export class ShardedDraftGraph implements DraftGraph {
  readonly #graph: DraftGraph;
  readonly #program: Program;
  readonly #places: LocalPlaces;

  /** `graph` writes down what the shard does by itself. */
  constructor(graph: DraftGraph, program: Program, places: LocalPlaces) {
    this.#graph = graph;
    this.#program = program;
    this.#places = places;
  }

  linear(x: Value, projections: readonly Projection[]): Value[] {
    return linearTogether(this.#graph, this.#program, this.#places, x, projections);
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

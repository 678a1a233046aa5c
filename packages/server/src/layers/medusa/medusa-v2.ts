/** Draft heads of version 2: one block each, all in one product, for the base model's output layer. */

import type { DraftGraph, Projection, Value } from '../../backend/backend.ts';

export class MedusaV2 {
  readonly version = 2;
  /** Head k guesses the token k + 2 places after the row's own. */
  readonly headCount: number;
  /** The heads' weights one below the other, `[heads * hidden, hidden]`. */
  readonly #linear: Projection;

  constructor(linear: Projection) {
    this.#linear = linear;
    this.headCount = linear.outFeatures / linear.inFeatures;
  }

  /**
   * The hidden states of each row's first `counts[row]` heads, row after row: `[sum of counts, hidden]`. A row's adapters are
   * those of its heads too.
   */
  states(graph: DraftGraph, x: Value, counts: readonly number[]): Value {
    const [y] = graph.linear(x, [this.#linear]);
    const all = graph.addToHeads(x, graph.silu(y!));
    if (counts.every((count) => count === this.headCount)) return all;
    return graph.stack(counts.map((count, row) => graph.rows(all, row * this.headCount, count)));
  }
}

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

  /** The heads' hidden states, row after row: `[rows * heads, hidden]`. A row's adapters are those of its heads too. */
  states(graph: DraftGraph, x: Value): Value {
    const [y] = graph.linear(x, [this.#linear]);
    return graph.addToHeads(x, graph.silu(y!));
  }
}

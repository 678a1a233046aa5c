/** The block that draft heads are made of. Owns one layer; knows nothing about what the head guesses. */

import type { DraftGraph, Projection, Value } from '../../backend/backend.ts';

/** `x + SiLU(x W^T + b)` (Medusa, arXiv 2401.10774, section 2.1). */
export class ResBlock {
  readonly #linear: Projection;

  constructor(linear: Projection) {
    this.#linear = linear;
  }

  /** `[rows, hidden]` to `[rows, hidden]`. */
  forward(graph: DraftGraph, x: Value): Value {
    const [y] = graph.linear(x, [this.#linear]);
    return graph.add(x, graph.silu(y!));
  }
}

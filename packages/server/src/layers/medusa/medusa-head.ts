/** A draft head with an output layer of its own, as version 1 has them. */

import type { DraftGraph, Projection, Value } from '../../backend/backend.ts';
import type { ResBlock } from './res-block.ts';

export class MedusaHead {
  readonly #blocks: readonly ResBlock[];
  readonly #output: Projection;

  constructor(blocks: readonly ResBlock[], output: Projection) {
    this.#blocks = blocks;
    this.#output = output;
  }

  /** Logits of one token ahead, `[rows, vocab]`. */
  forward(graph: DraftGraph, x: Value): Value {
    const hidden = this.#blocks.reduce((value, block) => block.forward(graph, value), x);
    return graph.linear(hidden, [this.#output])[0]!;
  }
}

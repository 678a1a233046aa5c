/** Draft heads of version 1: any number of blocks each, and their own output layers. */

import type { DraftGraph, Value } from '../../backend/backend.ts';
import type { MedusaHead } from './medusa-head.ts';

export class MedusaV1 {
  readonly version = 1;
  readonly #heads: readonly MedusaHead[];

  constructor(heads: readonly MedusaHead[]) {
    this.#heads = heads;
  }

  /** Head k guesses the token k + 2 places after the row's own. */
  get headCount(): number {
    return this.#heads.length;
  }

  /** Logits, head after head: `[heads * rows, vocab]`. The base model's output layer has no part in it. */
  logits(graph: DraftGraph, x: Value): Value {
    return graph.stack(this.#heads.map((head) => head.forward(graph, x)));
  }
}

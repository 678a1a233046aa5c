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

  /** Logits of the first `count` heads, head after head: `[count * rows, vocab]`. The base's output layer has no part in it. */
  logits(graph: DraftGraph, x: Value, count: number): Value {
    return graph.stack(this.#heads.slice(0, count).map((head) => head.forward(graph, x)));
  }
}

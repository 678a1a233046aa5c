/** Draft heads of version 2: one block each, all in one product, and the base model's output layer. */

import type { DraftGraph, Projection, Value } from '../../backend/backend.ts';
import type { LogitsOf, MedusaModel } from './medusa-model.ts';

export class MedusaV2 implements MedusaModel {
  readonly version = 2;
  readonly headCount: number;
  /** The heads' weights one below the other, `[heads * hidden, hidden]`. */
  readonly #linear: Projection;

  constructor(linear: Projection) {
    this.#linear = linear;
    this.headCount = linear.outFeatures / linear.inFeatures;
  }

  /** Row after row, `[rows * heads, vocab]`; a row's adapters of the output layer enter its heads too. */
  forward(graph: DraftGraph, x: Value, logitsOf: LogitsOf): Value {
    const [y] = graph.linear(x, [this.#linear]);
    return logitsOf(graph, graph.addToHeads(x, graph.silu(y!)));
  }

  outputRow(row: number, head: number): number {
    return row * this.headCount + head;
  }
}

/** Draft heads of version 1: any number of blocks each, and their own output layers. */

import type { DraftGraph, Value } from '../../backend/backend.ts';
import type { MedusaHead } from './medusa-head.ts';
import type { LogitsOf, MedusaModel } from './medusa-model.ts';

export class MedusaV1 implements MedusaModel {
  readonly version = 1;
  readonly #heads: readonly MedusaHead[];

  constructor(heads: readonly MedusaHead[]) {
    this.#heads = heads;
  }

  get headCount(): number {
    return this.#heads.length;
  }

  /** Head after head, `[heads * rows, vocab]`: the base's output layer has no part in it. */
  forward(graph: DraftGraph, x: Value, _logitsOf: LogitsOf): Value {
    return graph.stack(this.#heads.map((head) => head.forward(graph, x)));
  }

  outputRow(row: number, head: number, rowCount: number): number {
    return head * rowCount + row;
  }
}

/** What every set of draft heads can do, whatever its version. */

import type { DraftGraph, Forward, Value } from '../../backend/backend.ts';

/** The base model's output layer. */
export type LogitsOf = Forward['logits'];

export interface MedusaModel {
  /** 1 brings output layers of its own, 2 shares the base model's. */
  readonly version: 1 | 2;
  /** Head k guesses the token k + 2 places after the row's own. */
  readonly headCount: number;
  /** From hidden states `[rows, hidden]` to logits of every head, `[rows * heads, vocab]` in the order of `outputRow`. */
  forward(graph: DraftGraph, x: Value, logitsOf: LogitsOf): Value;
  /** Where the logits of a row's head are among those of `rowCount` rows. */
  outputRow(row: number, head: number, rowCount: number): number;
}

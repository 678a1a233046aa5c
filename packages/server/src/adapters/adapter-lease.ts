/** A request's hold on what it needs of its adapter. While it lasts, nothing of it is replaced or freed. */

import type { WeightedSlot } from '../backend/step.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

export interface AdapterLease {
  /** Identity by content, of a merge that of its members and recipe too. */
  readonly generation: string;
  /** What enters the request's rows: one slot, or every member of a `cat` merge. */
  readonly slots: readonly WeightedSlot[];
  /** The adapter's own; undefined is the base model's. */
  readonly tokenizer: Tokenizer | undefined;
  /** Idempotent. */
  release(): void;
}

/** A request's hold on what it needs of its adapter. While it lasts, nothing of it is replaced or freed. */

import type { WeightedSlot } from '../../backend/step.ts';
import type { MedusaModel } from '../../layers/medusa/medusa-model.ts';
import type { BatchType } from '../adapter-config.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import type { AdapterRecord } from './adapter-catalog.ts';

/** Draft heads and the identity of the adapter that brought them. */
export interface DraftHeads {
  readonly model: MedusaModel;
  readonly generation: string;
}

export interface AdapterLease {
  /** Identity by content, of a merge that of its members and recipe too. */
  readonly generation: string;
  /** What enters the request's rows: one slot, or every member of a `cat` merge. */
  readonly slots: readonly WeightedSlot[];
  /** What the adapter is; heads alone leave the rows those of the base. */
  readonly batchTypes: readonly BatchType[];
  /** The adapter's own. */
  readonly heads: DraftHeads | undefined;
  /** The adapter's own; undefined is the base model's. */
  readonly tokenizer: Tokenizer | undefined;
  /** Idempotent. */
  release(): void;
}

/** Counted as running in each of these records until it is released, which calls `onRelease`. */
export function makeLease(
  brought: Omit<AdapterLease, 'release'>,
  records: readonly AdapterRecord[],
  nowMs: number,
  onRelease: () => void,
): AdapterLease {
  for (const record of records) {
    record.runningCount++;
    record.lastUsedAtMs = nowMs;
  }
  let isReleased = false;
  const release = (): void => {
    if (isReleased) return;
    isReleased = true;
    for (const record of records) record.runningCount--;
    onRelease();
  };
  return { ...brought, release };
}

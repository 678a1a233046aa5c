/** One resident adapter in ggml: its rank rows in a bank and what else it owns, found by path. Holds, never computes. */

import type { Pointer } from '../../native/ffi.ts';
import type { AdapterSlot } from '../adapters.ts';
import type { AdapterBank } from './adapter-bank.ts';
import type { GgmlWeight } from './weights.ts';

/** What an adapter does at one place of the model, beside the factors in its bank. */
export interface AdapterEntry {
  /** Rank rows in the bank at this place; 0 where the adapter only replaces. */
  readonly rank: number;
  /** DoRA: factor on the base product, `[out]` float32. */
  readonly outputScale: Pointer | undefined;
  /** Added to the product, `[out]` float32. */
  readonly outputBias: Pointer | undefined;
  /** Takes the place of the base weight. */
  readonly replacement: GgmlWeight | undefined;
}

/** Low-rank factors at the embedding, which are looked up instead of multiplied. */
export interface EmbeddingEntry {
  readonly rank: number;
  /** `[rank, vocab]` in ggml's order, float32. */
  readonly aTransposed: Pointer | undefined;
  /** `[hidden, rank]` in ggml's order, float32, scaled. */
  readonly bTransposed: Pointer | undefined;
  readonly replacement: GgmlWeight | undefined;
}

export interface GgmlAdapterSlot extends AdapterSlot {
  readonly bank: AdapterBank;
  /** First rank row in the bank. */
  readonly offset: number;
  /** Rank rows held, the largest rank at any place. */
  readonly extent: number;
  readonly entries: ReadonlyMap<string, AdapterEntry>;
  readonly embeddings: ReadonlyMap<string, EmbeddingEntry>;
  /** Frees what the slot owns outside its bank. */
  disposeOwned(): void;
}

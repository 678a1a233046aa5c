/** The cells of the KV store and who holds which: each sequence has one span. Knows nothing about tokens or tensors. */

import { SpanAllocator } from '../base/span-allocator.ts';
import type { KvStore } from '../backend/kv.ts';

export interface KvSpan {
  readonly firstCell: number;
  readonly length: number;
}

export class KvCache {
  readonly store: KvStore;
  readonly #cells: SpanAllocator;

  constructor(store: KvStore) {
    this.store = store;
    this.#cells = new SpanAllocator(store.shape.cellCount);
  }

  get cellCount(): number {
    return this.#cells.capacity;
  }

  get usedCount(): number {
    return this.#cells.used;
  }

  /** A span for a sequence of at most `length` tokens, or undefined while no gap is as long. */
  take(length: number): KvSpan | undefined {
    const firstCell = this.#cells.take(length);
    return firstCell === undefined ? undefined : { firstCell, length };
  }

  give(span: KvSpan): void {
    this.#cells.give(span.firstCell, span.length);
  }

  checkIntegrity(): void {
    this.#cells.checkIntegrity();
  }

  dispose(): void {
    this.store.dispose();
  }
}

/**
 * In which order residents should leave. Resists scans: what was used once goes before what was used again, however long
 * ago. Segmented LRU (Karedla, Love and Wherry, 1994), with the list of recently evicted keys of 2Q's A1out (Johnson and
 * Shasha, 1994): a key that comes back soon after it left counts as used again. Knows no adapters and evicts nothing itself.
 */

import { assert } from '../../base/assert.ts';

export interface EvictionShares {
  /** Entries, and their bytes, that may be protected; the least recently used of them fall back when there are more. */
  readonly protectedCount: number;
  readonly protectedBytes: number;
  /** Evicted keys that are remembered. */
  readonly ghostCount: number;
}

export class EvictionOrder {
  readonly #shares: EvictionShares;
  /** Bytes by key, least recently used first: used once, or fallen back. */
  readonly #probation = new Map<string, number>();
  /** As `#probation`: used again. */
  readonly #protected = new Map<string, number>();
  #protectedBytes = 0;
  /** Least recently evicted first. */
  readonly #ghosts = new Set<string>();

  constructor(shares: EvictionShares) {
    this.#shares = shares;
  }

  add(key: string, byteLength: number): void {
    assert(!this.#probation.has(key) && !this.#protected.has(key), `${key} enters the order once`);
    if (this.#ghosts.delete(key)) this.#protect(key, byteLength);
    else this.#probation.set(key, byteLength);
  }

  touch(key: string): void {
    this.#protect(key, this.#take(key));
  }

  /** Its place in the order stays, unless the protected ones become too large with it. */
  resize(key: string, byteLength: number): void {
    if (this.#probation.has(key)) {
      this.#probation.set(key, byteLength);
      return;
    }
    this.#protectedBytes += byteLength - (this.#protected.get(key) ?? 0);
    this.#protected.set(key, byteLength);
    this.#fallBack();
  }

  /** Takes a key out; `evicted` ones are remembered. */
  remove(key: string, reason: 'evicted' | 'forgotten'): void {
    this.#take(key);
    if (reason === 'forgotten') return;
    this.#ghosts.add(key);
    for (const ghost of this.#ghosts) {
      if (this.#ghosts.size <= this.#shares.ghostCount) break;
      this.#ghosts.delete(ghost);
    }
  }

  /** All keys, those that should leave first in front. */
  *victims(): IterableIterator<string> {
    yield* this.#probation.keys();
    yield* this.#protected.keys();
  }

  #take(key: string): number {
    const byteLength = this.#probation.get(key) ?? this.#protected.get(key);
    assert(byteLength !== undefined, `${key} is in the order`);
    if (!this.#probation.delete(key)) {
      this.#protected.delete(key);
      this.#protectedBytes -= byteLength;
    }
    return byteLength;
  }

  #protect(key: string, byteLength: number): void {
    this.#protected.set(key, byteLength);
    this.#protectedBytes += byteLength;
    this.#fallBack();
  }

  #fallBack(): void {
    const { protectedCount, protectedBytes } = this.#shares;
    for (const [key, byteLength] of this.#protected) {
      if (this.#protected.size <= protectedCount && this.#protectedBytes <= protectedBytes) return;
      this.#protected.delete(key);
      this.#protectedBytes -= byteLength;
      this.#probation.set(key, byteLength);
    }
  }
}

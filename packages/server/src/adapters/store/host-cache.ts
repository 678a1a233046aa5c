/** Adapters that were read, kept in this process's memory so that they need not be read again. Knows no disk, no device. */

import type { HostAdapter } from '../adapter-loader.ts';
import { ByteBudget, type Reservation } from './byte-budget.ts';

interface Kept {
  readonly host: HostAdapter;
  readonly reservation: Reservation;
}

export class HostCache {
  readonly #budget: ByteBudget;
  /** By generation, least recently used first. */
  readonly #kept = new Map<string, Kept>();

  /** 0 keeps none. */
  constructor(limitBytes: number) {
    this.#budget = new ByteBudget(limitBytes);
  }

  get usedBytes(): number {
    return this.#budget.usedBytes;
  }

  peek(generation: string): HostAdapter | undefined {
    return this.#kept.get(generation)?.host;
  }

  /** Who goes on to wait with it must hold its tokenizer first. */
  get(generation: string): HostAdapter | undefined {
    const kept = this.#kept.get(generation);
    if (kept === undefined) return undefined;
    this.#kept.delete(generation);
    this.#kept.set(generation, kept);
    return kept.host;
  }

  /** Larger ones than the whole cache are not kept, and push nobody out. */
  put(generation: string, host: HostAdapter): void {
    this.delete(generation);
    if (host.byteLength > this.#budget.limitBytes || this.#budget.limitBytes === 0) return;
    for (const oldest of this.#kept.keys()) {
      if (host.byteLength <= this.#budget.freeBytes) break;
      this.delete(oldest);
    }
    host.tokenizer?.hold();
    this.#kept.set(generation, { host, reservation: this.#budget.reserve(host.byteLength) });
  }

  /** The bytes that became free. */
  delete(generation: string): number {
    const kept = this.#kept.get(generation);
    if (kept === undefined) return 0;
    this.#kept.delete(generation);
    kept.reservation.release();
    kept.host.tokenizer?.release();
    return kept.host.byteLength;
  }

  clear(): void {
    for (const generation of [...this.#kept.keys()]) this.delete(generation);
  }
}

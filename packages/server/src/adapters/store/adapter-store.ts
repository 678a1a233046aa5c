/**
 * The adapters of this server: leased to requests, loaded and unloaded by those who run it, told about to both. Every
 * request is checked for itself, whatever is resident already. Leaves the work to its parts. Knows no tensors and no scheduling.
 */

import type { AdapterChoice, AdapterReference, AdapterSource } from '../../base/adapter-reference.ts';
import type { AdapterLease } from './adapter-lease.ts';
import type { NamedAdapter } from './adapter-names.ts';
import type { AdapterStatus } from './adapter-status.ts';
import { assembleStore, type AdapterStoreOptions, type StoreParts } from './adapter-store-parts.ts';
import type { FreedBytes } from './adapter-unloading.ts';
import type { ResidentAdapter } from './residency-table.ts';

export interface LoadOptions {
  readonly reference: AdapterReference;
  /** Stands for the adapter from then on. */
  readonly name?: string;
  /** Takes the name from the adapter that has it. */
  readonly moveName?: true;
  readonly pin: boolean;
}

export class AdapterStore {
  readonly #parts: StoreParts;

  constructor(options: AdapterStoreOptions) {
    this.#parts = assembleStore(options);
  }

  /** Merges and adapters, in no order. */
  get residents(): readonly ResidentAdapter[] {
    return this.#parts.residency.residents;
  }

  /** Of residents, and reserved for those that are being loaded. */
  get deviceBytes(): number {
    return this.#parts.residency.usedBytes;
  }

  get hostBytes(): number {
    return this.#parts.hostCache.usedBytes;
  }

  /** Requests that wait for room. */
  get waitingCount(): number {
    return this.#parts.residency.waitingCount;
  }

  /** Resident until the lease is released. Rejects with a 4xx or 503 where it cannot be had by this caller. */
  acquire(choice: AdapterChoice, signal: AbortSignal): Promise<AdapterLease> {
    return this.#parts.leasing.acquire(choice, signal);
  }

  /** Adapters that are known before anybody names them. */
  found(adapters: readonly NamedAdapter[]): void {
    for (const adapter of adapters) this.#parts.catalog.found(adapter);
  }

  /** Resident, pinned and never unloaded for as long as the lease is held. Rejects as `acquire` does. */
  async keep(reference: AdapterReference, signal: AbortSignal): Promise<AdapterLease> {
    const { unloading } = this.#parts;
    await this.load({ reference, pin: true }, signal);
    const lease = await this.acquire(reference, signal);
    unloading.keep(lease.generation);
    const release = (): void => {
      unloading.letGo(lease.generation);
      lease.release();
    };
    return { ...lease, release };
  }

  statuses(): AdapterStatus[] {
    return this.#parts.listing.statuses();
  }

  /** With a source it is an id in it; without, a name or else an id in any source. */
  find(idOrName: string, source?: AdapterSource): AdapterStatus | undefined {
    return this.#parts.listing.find(idOrName, source);
  }

  /**
   * Settles when the adapter is resident; the signal ends the wait, not the load. Rejects as `acquire` does, and with
   * VALIDATION where the name cannot be given.
   */
  async load({ reference, name, moveName, pin }: LoadOptions, signal: AbortSignal): Promise<AdapterStatus> {
    const { names, leasing, pins, listing } = this.#parts;
    if (name !== undefined) names.check(name);
    const { record, lease } = await leasing.reside(reference, signal);
    try {
      if (name !== undefined) names.give(name, record, moveName === true);
      if (pin) pins.pin(record);
      return listing.status(record);
    } finally {
      lease.release();
    }
  }

  /**
   * Lets the running requests end, then frees what host and device hold and forgets the adapter's names; by a name while
   * others stand for the adapter, only that name goes. What is pinned under another id as well keeps its memory. Rejects
   * with ADAPTER_NOT_FOUND, with VALIDATION for what the server itself keeps, and with the signal's reason.
   */
  async unload(
    idOrName: string,
    source: AdapterSource | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly freed: FreedBytes }> {
    return { freed: await this.#parts.unloading.unload(idOrName, source, signal) };
  }

  /** Id and source, without a token: each request brings its own. */
  resolveName(name: string): AdapterReference | undefined {
    return this.#parts.names.resolve(name);
  }

  /** Frees every adapter; none may be leased any more. */
  async dispose(): Promise<void> {
    const { residency, hostCache, loader } = this.#parts;
    await residency.dispose();
    hostCache.clear();
    await loader.settle();
  }

  checkIntegrity(): void {
    this.#parts.residency.checkIntegrity();
  }
}

/**
 * How an adapter leaves memory, disk and the catalog while requests run on it, wait for it, or have it loaded anew. Keeps
 * what the server itself needs. Loads nothing, and knows neither how room is counted nor how requests wait.
 */

import type { AdapterSource } from '../../base/adapter-reference.ts';
import { invalidField, LoraxError } from '../../base/errors.ts';
import type { AdapterCatalog, AdapterRecord } from './adapter-catalog.ts';
import type { AdapterNames, NamedAdapter } from './adapter-names.ts';
import type { AdapterPins } from './adapter-pins.ts';
import type { AdapterStatus } from './adapter-status.ts';
import type { HostCache } from './host-cache.ts';
import type { Residency } from './residency.ts';

export type FreedBytes = AdapterStatus['bytes'];

/** Removes what this server downloaded of an adapter and gives the bytes. */
export type RemoveFiles = (adapter: NamedAdapter) => Promise<number>;

export interface UnloadingParts {
  readonly catalog: AdapterCatalog;
  readonly names: AdapterNames;
  readonly pins: AdapterPins;
  readonly residency: Pick<Residency, 'drain'>;
  readonly hostCache: Pick<HostCache, 'delete'>;
  readonly removeFiles: RemoveFiles;
}

export class AdapterUnloading {
  readonly #parts: UnloadingParts;
  /** Generations that the server itself needs. */
  readonly #kept = new Set<string>();

  constructor(parts: UnloadingParts) {
    this.#parts = parts;
  }

  /** Refuses to unload this content until it is let go. */
  keep(generation: string): void {
    this.#kept.add(generation);
  }

  letGo(generation: string): void {
    this.#kept.delete(generation);
  }

  /**
   * By a name while others stand for the adapter, only that name goes. Rejects with ADAPTER_NOT_FOUND, with VALIDATION for
   * what is kept, and with the signal's reason where that ends the wait for running requests: what did not leave yet stays.
   */
  async unload(idOrName: string, source: AdapterSource | undefined, signal: AbortSignal): Promise<FreedBytes> {
    const { catalog, names, pins } = this.#parts;
    const named = names.resolve(idOrName, source);
    const adapter = named ?? catalog.find(idOrName, source);
    if (adapter === undefined) {
      throw new LoraxError('ADAPTER_NOT_FOUND', { adapterId: idOrName, source: source ?? 'any' });
    }
    if (named && names.namesOf(named).length > 1) {
      names.take(idOrName);
      return { disk: 0, host: 0, device: 0 };
    }
    const records = catalog.allOf(adapter);
    this.#checkNotKept(records);
    const freed = await this.#leaveMemory(adapter, records, signal);
    for (const name of names.namesOf(adapter)) names.take(name);
    pins.unpin(adapter);
    const disk = await this.#leaveDisk(records);
    catalog.unloaded(adapter, this.#neverDrained(adapter, records));
    return { disk, ...freed };
  }

  #checkNotKept(records: readonly AdapterRecord[]): void {
    if (records.some(({ generation }) => generation !== undefined && this.#kept.has(generation))) {
      throw invalidField('id', 'is the default adapter of this server, which stays');
    }
  }

  async #leaveMemory(
    adapter: NamedAdapter,
    records: readonly AdapterRecord[],
    signal: AbortSignal,
  ): Promise<Omit<FreedBytes, 'disk'>> {
    const { catalog, pins, residency, hostCache } = this.#parts;
    const freed = { host: 0, device: 0 };
    for (const generation of new Set(records.flatMap((each) => each.generation ?? []))) {
      if (pins.isPinnedByOthers(generation, adapter)) continue;
      // Before those who wait for it have it loaded anew, which makes it known again.
      const whenGone = (): void => {
        freed.host += hostCache.delete(generation);
        for (const each of records) if (each.generation === generation) catalog.forget(each);
      };
      freed.device += await residency.drain(generation, whenGone, signal);
    }
    return freed;
  }

  async #leaveDisk(records: readonly AdapterRecord[]): Promise<number> {
    let freedBytes = 0;
    for (const record of records) freedBytes += await this.#parts.removeFiles(idAtSource(record));
    return freedBytes;
  }

  /** Of contents that others have pinned, and where no content was known; the rest was forgotten as it left. */
  #neverDrained(adapter: NamedAdapter, records: readonly AdapterRecord[]): readonly AdapterRecord[] {
    const { pins } = this.#parts;
    return records.filter(({ generation }) => generation === undefined || pins.isPinnedByOthers(generation, adapter));
  }
}

/** The Hub's records are told apart by the `@revision` that callers ask for; its repositories have none. */
function idAtSource({ id, source }: NamedAdapter): NamedAdapter {
  return { id: source === 'hub' ? id.replace(/@.*$/, '') : id, source };
}

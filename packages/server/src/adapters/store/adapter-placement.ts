/**
 * The way from memory onto the device and off it again: what is placed keeps its tokenizer, what cannot be placed is
 * remembered as failed, and whoever watches is told. Makes no room, and knows neither requests nor files.
 */

import type { AdapterSource } from '../../base/adapter-reference.ts';
import type { AdapterLoader, HostAdapter } from '../adapter-loader.ts';
import type { AdapterRecord } from './adapter-catalog.ts';
import type { AdapterFailures } from './adapter-failures.ts';
import type { HostCache } from './host-cache.ts';
import type { ResidentAdapter } from './residency-table.ts';

/** An adapter that can be read, or a merge, of which there is no record. */
export interface Placeable {
  readonly generation: string;
  /** As it was first asked for; of a merge those of its members. */
  readonly adapterId: string;
  readonly record?: AdapterRecord;
  /** Its tokenizer is held for the caller. */
  readHost(): Promise<HostAdapter>;
}

/** What one load was about, for logs and metrics. */
export interface AdapterNotice extends ResidentAdapter {
  /** As it was first asked for; of a merge those of its members. */
  readonly id: string;
  /** Undefined for a merge. */
  readonly source: AdapterSource | undefined;
}

export interface AdapterObserver {
  onLoaded(adapter: AdapterNotice, durationMs: number): void;
  onLoadFailed(): void;
  onEvicted(adapter: ResidentAdapter): void;
}

export interface PlacementParts {
  readonly loader: Pick<AdapterLoader, 'place' | 'unload'>;
  readonly hostCache: HostCache;
  readonly failures: AdapterFailures;
  readonly observer: AdapterObserver;
  readonly now: () => number;
}

export class AdapterPlacement {
  readonly #parts: PlacementParts;

  constructor(parts: PlacementParts) {
    this.#parts = parts;
  }

  /** Reads it, and places it where room was made. Rejects with what reading or placing fails with. */
  async place(adapter: Placeable): Promise<ResidentAdapter> {
    const { observer } = this.#parts;
    const begun = performance.now();
    try {
      const host = await adapter.readHost();
      const resident = await this.#placeHost(adapter, host).finally(() => host.tokenizer?.release());
      const { adapterId: id, record } = adapter;
      observer.onLoaded({ ...resident, id, source: record?.source }, performance.now() - begun);
      return resident;
    } catch (error) {
      observer.onLoadFailed();
      throw error;
    }
  }

  /** Frees what `place` took on the device. */
  remove(adapter: ResidentAdapter): void {
    const { loader, observer } = this.#parts;
    loader.unload(adapter);
    adapter.tokenizer?.release();
    observer.onEvicted(adapter);
  }

  async #placeHost({ generation, record }: Placeable, host: HostAdapter): Promise<ResidentAdapter> {
    const { loader, hostCache, failures, now } = this.#parts;
    try {
      const placed = await loader.place(host);
      host.tokenizer?.hold();
      return { generation, ...placed, batchTypes: host.batchTypes, tokenizer: host.tokenizer, report: host.report };
    } catch (error) {
      hostCache.delete(generation);
      const remembered = failures.remember(generation, error);
      record?.failed(error, remembered, now());
      throw error;
    }
  }
}

/**
 * The resident adapters: found by content, loaded when first named, kept while they are useful, leased to running
 * requests. Loads run beside steps; one failed load concerns nobody else. Knows no tensors and no scheduling.
 */

import { LRUCache } from 'lru-cache';
import { LoraxError } from '../base/errors.ts';
import { untilAborted } from '../base/until-aborted.ts';
import type { AdapterReference, AdapterSource } from '../base/adapter-reference.ts';
import type { AdapterLocation, ResolvedFolder, Sources } from '../sources/source.ts';
import { adapterFiles, contentHash, fingerprint } from './adapter-files.ts';
import type { AdapterLoader, LoadedAdapter } from './adapter-loader.ts';

/** Remembered content hashes of folders that did not change. */
const KNOWN_FOLDERS = 4096;

/** Characters of the content hash that name a generation. */
const GENERATION_LEN = 16;

export interface ResidentAdapter extends LoadedAdapter {
  /** Identity by content: config, weights and base model. */
  readonly generation: string;
  readonly id: string;
  readonly source: AdapterSource;
}

/** Where an adapter was found, and its files here. */
interface Place {
  readonly location: AdapterLocation;
  readonly folder: ResolvedFolder;
}

export interface AdapterLease {
  readonly adapter: ResidentAdapter;
  release(): void;
}

interface Entry {
  readonly loading: Promise<ResidentAdapter>;
  resident: ResidentAdapter | undefined;
  leaseCount: number;
}

export interface AdapterStoreOptions {
  readonly sources: Sources;
  readonly loader: AdapterLoader;
  /** Part of every generation: the same adapter over another base is another one. */
  readonly baseIdentity: string;
  readonly maxResident: number;
  readonly onLoaded: (adapter: ResidentAdapter, durationMs: number) => void;
  readonly onLoadFailed: () => void;
}

export class AdapterStore {
  readonly #options: AdapterStoreOptions;
  /** By generation, least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #generations = new LRUCache<string, string>({ max: KNOWN_FOLDERS });
  readonly #waiting = new Set<() => void>();

  constructor(options: AdapterStoreOptions) {
    this.#options = options;
  }

  get residents(): readonly ResidentAdapter[] {
    return [...this.#entries.values()].flatMap(({ resident }) => resident ?? []);
  }

  /** The adapter, resident until the lease is released. Rejects with a 4xx where it cannot be had. */
  async acquire(reference: AdapterReference, signal: AbortSignal): Promise<AdapterLease> {
    const { id, source, apiToken } = reference;
    const location = await this.#options.sources[source].locate(id, { ...(apiToken && { apiToken }), signal });
    const place = { location, folder: await location.fetch({ signal }) };
    const generation = await this.#identify(place, signal);
    const entry = await this.#leaseEntry(generation, place, signal);
    try {
      return this.#lease(entry, await untilAborted(entry.loading, signal));
    } catch (error) {
      this.#release(entry);
      throw error;
    }
  }

  /** Frees every adapter; none may be leased any more. */
  async dispose(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.allSettled(entries.map(({ loading }) => loading));
    for (const { resident } of entries) if (resident) this.#options.loader.unload(resident);
  }

  async #identify({ location, folder }: Place, signal: AbortSignal): Promise<string> {
    const paths = await adapterFiles(folder, location.id);
    const print = await fingerprint(paths);
    const known = this.#generations.get(print);
    if (known !== undefined) return known;
    const hash = await contentHash(paths, this.#options.baseIdentity, signal);
    const generation = hash.slice(0, GENERATION_LEN);
    this.#generations.set(print, generation);
    return generation;
  }

  async #leaseEntry(generation: string, place: Place, signal: AbortSignal): Promise<Entry> {
    for (;;) {
      signal.throwIfAborted();
      const known = this.#entries.get(generation);
      if (known) {
        // Map keeps insertion order, so re-insertion marks the entry as the most recently used.
        this.#entries.delete(generation);
        this.#entries.set(generation, known);
        known.leaseCount++;
        return known;
      }
      if (this.#makeRoom()) return this.#startLoading(generation, place);
      await this.#someRelease(signal);
    }
  }

  #startLoading(generation: string, place: Place): Entry {
    const entry: Entry = { loading: this.#load(generation, place), resident: undefined, leaseCount: 1 };
    this.#entries.set(generation, entry);
    entry.loading.then(
      (resident) => {
        entry.resident = resident;
        // Whoever wanted it may be gone by now, and then it is in the way of others.
        if (entry.leaseCount === 0) this.#wakeAll();
      },
      () => {
        this.#entries.delete(generation);
        this.#wakeAll();
      },
    );
    return entry;
  }

  /** A load serves every request that waits for it, so no single caller's signal ends it. */
  async #load(generation: string, place: Place): Promise<ResidentAdapter> {
    const begun = performance.now();
    const { id, source } = place.location;
    try {
      const { signal } = new AbortController();
      const loaded = await this.#options.loader.load(place.folder.folder, id, signal);
      await this.#checkUnchanged(generation, place, loaded, signal);
      const resident = { ...loaded, generation, id, source };
      this.#options.onLoaded(resident, performance.now() - begun);
      return resident;
    } catch (error) {
      this.#options.onLoadFailed();
      throw error;
    }
  }

  /** A file that was replaced between being hashed and being read would be resident under a content it does not have. */
  async #checkUnchanged(generation: string, place: Place, loaded: LoadedAdapter, signal: AbortSignal): Promise<void> {
    if ((await this.#identify(place, signal).catch(() => undefined)) === generation) return;
    this.#options.loader.unload(loaded);
    throw new LoraxError('ADAPTER_INVALID', {
      adapterId: place.location.id,
      reason: 'its files changed while it was loaded',
    });
  }

  /** Evicts the least recently used idle adapter where all places are taken; false while every one is in use. */
  #makeRoom(): boolean {
    if (this.#entries.size < this.#options.maxResident) return true;
    for (const [generation, entry] of this.#entries) {
      if (entry.leaseCount > 0 || entry.resident === undefined) continue;
      this.#entries.delete(generation);
      this.#options.loader.unload(entry.resident);
      return true;
    }
    return false;
  }

  #lease(entry: Entry, adapter: ResidentAdapter): AdapterLease {
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      this.#release(entry);
    };
    return { adapter, release };
  }

  #release(entry: Entry): void {
    entry.leaseCount--;
    if (entry.leaseCount === 0) this.#wakeAll();
  }

  /** In order of arrival: one may take the place, and others may want the adapter that comes into it. */
  #wakeAll(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Settles when a place may have become free, or rejects with the signal's reason. */
  async #someRelease(signal: AbortSignal): Promise<void> {
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    this.#waiting.add(wake);
    await untilAborted(woken, signal).finally(() => this.#waiting.delete(wake));
  }
}

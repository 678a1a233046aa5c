/**
 * From what a caller asked for to what can be made resident: checks the caller, finds the content, fetches what is missing
 * and looks at it, and reads it once its turn comes. Keeps the host tier; makes nothing resident itself.
 */

import { LRUCache } from 'lru-cache';
import type { AdapterReference } from '../../base/adapter-reference.ts';
import { SharedJobs } from '../../sources/shared-jobs.ts';
import type { AdapterLocation, ResolvedFolder } from '../../sources/source.ts';
import type { AdapterCatalog, AdapterRecord } from './adapter-catalog.ts';
import type { AdapterFailures } from './adapter-failures.ts';
import { FolderHold } from './adapter-folder-hold.ts';
import { isChangedError, type Generations } from './adapter-generations.ts';
import type { AdapterLoader, HostAdapter } from '../adapter-loader.ts';
import type { HostCache } from './host-cache.ts';
import type { LoadReport } from '../load-report.ts';

/** Says where an adapter is, if this caller may use it now. Asked for every request. */
export interface CheckAccess {
  check(reference: AdapterReference, signal: AbortSignal): Promise<AdapterLocation>;
}

/** What is remembered of a content that nobody holds. */
export interface AdapterFacts {
  readonly deviceBytes: number;
  readonly ranks: readonly number[];
  readonly targets: readonly string[];
}

export interface PreparedAdapter {
  readonly generation: string;
  /** The record's. */
  readonly adapterId: string;
  readonly record: AdapterRecord;
  readonly deviceBytes: number;
  /** The adapter in memory, its tokenizer held for the caller. */
  readHost(): Promise<HostAdapter>;
  /** Its files need not stay any longer. Idempotent; work that goes on holds them itself. */
  close(): void;
}

export interface PreparationParts {
  readonly access: CheckAccess;
  readonly loader: AdapterLoader;
  readonly generations: Generations;
  readonly catalog: AdapterCatalog;
  readonly failures: AdapterFailures;
  readonly hostCache: HostCache;
  readonly isResident: (generation: string) => boolean;
  readonly now: () => number;
}

/** Contents whose sizes are remembered. */
const MAX_FACTS = 4096;

export class AdapterPreparation {
  readonly #parts: PreparationParts;
  readonly #facts = new LRUCache<string, AdapterFacts>({ max: MAX_FACTS });
  readonly #inspecting = new SharedJobs<AdapterFacts>();

  constructor(parts: PreparationParts) {
    this.#parts = parts;
  }

  facts(generation: string): AdapterFacts | undefined {
    return this.#facts.get(generation);
  }

  /** The caller closes what he gets. Rejects with a 4xx or 503 where the adapter cannot be had. */
  async prepare(reference: AdapterReference, signal: AbortSignal): Promise<PreparedAdapter> {
    const { access, generations, catalog, failures } = this.#parts;
    const location = await access.check(reference, signal);
    const record = catalog.located(reference, location);
    const known = generations.known(location);
    const facts = known === undefined ? undefined : this.#facts.get(known);
    if (known !== undefined && facts !== undefined && this.#isAtHand(known)) {
      return this.#prepared(known, facts, catalog.identified(record, known), location);
    }
    if (known !== undefined) failures.check(known);
    return this.#prepareFiles(record, location, signal);
  }

  async #prepareFiles(found: AdapterRecord, location: AdapterLocation, signal: AbortSignal): Promise<PreparedAdapter> {
    const hold = await this.#fetch(found, location, signal);
    try {
      const { folder } = hold;
      const generation = await this.#parts.generations.identify(location, folder, signal);
      const record = this.#parts.catalog.identified(found, generation);
      record.diskBytes = folder.byteLength;
      record.isOnDisk = true;
      const facts = await this.#inspect(generation, record, hold, signal);
      return this.#prepared(generation, facts, record, location, hold);
    } catch (error) {
      hold.release();
      throw error;
    }
  }

  #isAtHand(generation: string): boolean {
    return this.#parts.isResident(generation) || this.#parts.hostCache.peek(generation) !== undefined;
  }

  /** With this caller's token; what fails for one caller alone is not held against others. */
  async #fetch(record: AdapterRecord, location: AdapterLocation, signal: AbortSignal): Promise<FolderHold> {
    const { failures } = this.#parts;
    const key = `${location.source} ${location.id} ${location.revision ?? ''}`;
    failures.check(key);
    record.fetchingCount++;
    try {
      return new FolderHold(await location.fetch({ signal }));
    } catch (error) {
      if (!signal.aborted) record.failed(error, failures.remember(key, error), this.#parts.now());
      throw error;
    } finally {
      record.fetchingCount--;
    }
  }

  /** Once for all who ask at the same time, and before anybody has to make room. */
  async #inspect(
    generation: string,
    record: AdapterRecord,
    hold: FolderHold,
    signal: AbortSignal,
  ): Promise<AdapterFacts> {
    const { loader, failures, now } = this.#parts;
    const known = this.#facts.get(generation);
    failures.check(generation);
    if (known !== undefined) return known;
    try {
      return await this.#inspecting.run(generation, signal, (shared) =>
        hold.during(async ({ folder }) => {
          const { deviceBytes, report } = await loader.inspect(folder, record.id, shared);
          const facts = { deviceBytes, ...partsOf(report) };
          this.#facts.set(generation, facts);
          return facts;
        }),
      );
    } catch (error) {
      if (!signal.aborted) record.failed(error, failures.remember(generation, error), now());
      throw error;
    }
  }

  #prepared(
    generation: string,
    { deviceBytes }: AdapterFacts,
    record: AdapterRecord,
    location: AdapterLocation,
    hold?: FolderHold,
  ): PreparedAdapter {
    return {
      generation,
      adapterId: record.id,
      record,
      deviceBytes,
      readHost: () => this.#readHost(generation, record, location, hold),
      close: () => hold?.release(),
    };
  }

  async #readHost(
    generation: string,
    record: AdapterRecord,
    location: AdapterLocation,
    hold: FolderHold | undefined,
  ): Promise<HostAdapter> {
    const cached = this.#parts.hostCache.get(generation);
    if (cached !== undefined) {
      cached.tokenizer?.hold();
      return cached;
    }
    // Serves whoever waits for this content, so no single caller's signal ends it.
    const { signal } = new AbortController();
    if (hold?.isOpen) return hold.during((folder) => this.#read(generation, record, location, folder, signal));
    // It was at hand when it was asked for and left memory since, or whoever asked is gone and others wait for it.
    const fetched = await this.#fetch(record, location, signal);
    const host = fetched.during((folder) => this.#read(generation, record, location, folder, signal));
    return host.finally(() => fetched.release());
  }

  async #read(
    generation: string,
    record: AdapterRecord,
    location: AdapterLocation,
    folder: ResolvedFolder,
    signal: AbortSignal,
  ): Promise<HostAdapter> {
    const { loader, generations, hostCache, failures, now } = this.#parts;
    try {
      await generations.checkUnchanged(generation, location, folder, signal);
      const host = await loader.read(folder.folder, record.id, signal);
      try {
        await generations.checkUnchanged(generation, location, folder, signal);
      } catch (error) {
        host.tokenizer?.release();
        throw error;
      }
      hostCache.put(generation, host);
      return host;
    } catch (error) {
      const remembered = isChangedError(error) ? undefined : failures.remember(generation, error);
      record.failed(error, remembered, now());
      throw error;
    }
  }
}

/** What users see of a report: ranks, ascending, and which modules. */
export function partsOf({ modules }: LoadReport): Pick<AdapterFacts, 'ranks' | 'targets'> {
  const ranks = modules.flatMap(({ rank }) => rank ?? []);
  const targets = modules.map(({ path }) => path.slice(path.lastIndexOf('.') + 1));
  return { ranks: [...new Set(ranks)].toSorted((a, b) => a - b), targets: [...new Set(targets)] };
}

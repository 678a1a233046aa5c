/**
 * The adapters of this server: leased to requests, loaded and unloaded by those who run it, told about to both. Every
 * request is checked for itself, whatever is resident already. Knows no tensors and no scheduling.
 */

import type { AdapterChoice, AdapterReference, AdapterSource, MergedReference } from '../../base/adapter-reference.ts';
import { present } from '../../base/assert.ts';
import { invalidField, LoraxError } from '../../base/errors.ts';
import { mapLimited } from '../../sources/limited.ts';
import { AdapterCatalog, type AdapterRecord } from './adapter-catalog.ts';
import { AdapterFailures } from './adapter-failures.ts';
import { Generations, isChangedError } from './adapter-generations.ts';
import type { AdapterLease } from './adapter-lease.ts';
import type { AdapterLoader, HostAdapter } from '../adapter-loader.ts';
import { AdapterMerges, type PreparedMember } from './adapter-merges.ts';
import { AdapterNames, type NamedAdapter } from './adapter-names.ts';
import { AdapterPins } from './adapter-pins.ts';
import { AdapterPreparation, type CheckAccess, type PreparedAdapter } from './adapter-preparation.ts';
import { adapterStatus } from './adapter-state.ts';
import type { AdapterStatus } from './adapter-status.ts';
import { HostCache } from './host-cache.ts';
import { Residency, type ResidencyLease } from './residency.ts';
import type { ResidentAdapter, Want } from './residency-table.ts';

/** Folders of the operator may change while they are read, and are at rest soon after. */
const MAX_ATTEMPTS = 3;

/** What one load or eviction was about, for logs and metrics. */
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

export interface AdapterStoreOptions {
  readonly access: CheckAccess;
  readonly loader: AdapterLoader;
  /** Part of every generation: the same adapter over another base is another one. */
  readonly baseIdentity: string;
  readonly maxResident: number;
  readonly deviceBudgetBytes: number;
  /** 0 keeps none that is not resident. */
  readonly hostCacheBytes: number;
  readonly observer: AdapterObserver;
  /** Removes what this server downloaded of an adapter and gives the bytes; nothing is removed unless told. */
  readonly removeFiles?: (adapter: NamedAdapter) => Promise<number>;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

export interface LoadOptions {
  readonly reference: AdapterReference;
  /** Stands for the adapter from then on. */
  readonly name?: string;
  /** Takes the name from the adapter that has it. */
  readonly moveName?: true;
  readonly pin: boolean;
}

/** What a request gets of its adapters. */
type Brought = Omit<AdapterLease, 'release'>;

/** One request's adapters, prepared and resident. */
interface Residence {
  readonly record: AdapterRecord;
  readonly lease: ResidencyLease;
}

export class AdapterStore {
  readonly #options: AdapterStoreOptions;
  readonly #now: () => number;
  readonly #hostCache: HostCache;
  readonly #failures: AdapterFailures;
  readonly #residency: Residency;
  readonly #catalog: AdapterCatalog;
  readonly #preparation: AdapterPreparation;
  readonly #merges: AdapterMerges;
  readonly #names = new AdapterNames();
  /** Generations that the server itself needs. */
  readonly #kept = new Set<string>();
  readonly #pins: AdapterPins;

  constructor(options: AdapterStoreOptions) {
    const { loader, access, now = Date.now, deviceBudgetBytes: budgetBytes, maxResident: maxCount } = options;
    const hostCache = new HostCache(options.hostCacheBytes);
    const failures = new AdapterFailures(now);
    const residency = new Residency({ budgetBytes, maxCount, now, onEvict: (adapter) => this.#evicted(adapter) });
    const isResident = (generation: string): boolean => residency.has(generation);
    const catalog = new AdapterCatalog(
      (generation) => isResident(generation) || hostCache.peek(generation) !== undefined,
    );
    const generations = new Generations(options.baseIdentity, options.deviceBudgetBytes);
    this.#options = options;
    this.#now = now;
    this.#hostCache = hostCache;
    this.#failures = failures;
    this.#residency = residency;
    this.#catalog = catalog;
    this.#pins = new AdapterPins(residency);
    this.#merges = new AdapterMerges({ loader, hostCache, failures, budgetBytes });
    this.#preparation = new AdapterPreparation({
      ...{ access, loader, generations, catalog, failures, hostCache, isResident, now },
    });
  }

  /** Merges and adapters, in no order. */
  get residents(): readonly ResidentAdapter[] {
    return this.#residency.residents;
  }

  /** Of residents, and reserved for those that are being loaded. */
  get deviceBytes(): number {
    return this.#residency.usedBytes;
  }

  get hostBytes(): number {
    return this.#hostCache.usedBytes;
  }

  /** Requests that wait for room. */
  get waitingCount(): number {
    return this.#residency.waitingCount;
  }

  /** Resident until the lease is released. Rejects with a 4xx or 503 where it cannot be had by this caller. */
  acquire(choice: AdapterChoice, signal: AbortSignal): Promise<AdapterLease> {
    return untilAtRest(signal, () =>
      'members' in choice ? this.#acquireMerge(choice, signal) : this.#acquireOne(choice, signal),
    );
  }

  /** Adapters that are known before anybody names them. */
  found(adapters: readonly NamedAdapter[]): void {
    for (const adapter of adapters) this.#catalog.found(adapter);
  }

  /** Resident, pinned and never unloaded for as long as the lease is held. */
  async keep(reference: AdapterReference, signal: AbortSignal): Promise<AdapterLease> {
    await this.load({ reference, pin: true }, signal);
    const lease = await this.acquire(reference, signal);
    this.#kept.add(lease.generation);
    const release = (): void => {
      this.#kept.delete(lease.generation);
      lease.release();
    };
    return { ...lease, release };
  }

  statuses(): AdapterStatus[] {
    return this.#catalog.records.map((record) => this.#status(record));
  }

  /** With a source it is an id in it; without, a name or else an id in any source. */
  find(idOrName: string, source?: AdapterSource): AdapterStatus | undefined {
    const record = this.#find(idOrName, source);
    return record && this.#status(record);
  }

  /** Settles when the adapter is resident; the signal ends the wait, not the load. Rejects as `acquire` does. */
  async load({ reference, name, moveName, pin }: LoadOptions, signal: AbortSignal): Promise<AdapterStatus> {
    if (name !== undefined) this.#names.check(name);
    const { record, lease } = await untilAtRest(signal, () => this.#reside(reference, signal));
    try {
      if (name !== undefined) this.#names.give(name, record, moveName === true);
      if (pin) this.#pins.pin(record);
      return this.#status(record);
    } finally {
      lease.release();
    }
  }

  /**
   * Lets the running requests end, then frees what host and device hold and forgets the adapter's names; by a name while
   * others stand for the adapter, only that name goes. What is pinned under another id as well keeps its memory.
   */
  async unload(
    idOrName: string,
    source: AdapterSource | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly freed: AdapterStatus['bytes'] }> {
    const named = source === undefined ? this.#names.resolve(idOrName) : undefined;
    const record = this.#find(idOrName, source);
    const adapter = named ?? record;
    if (adapter === undefined) throw notFound(idOrName, source);
    const freed = { disk: 0, host: 0, device: 0 };
    if (named && this.#names.namesOf(named).length > 1) {
      this.#names.take(idOrName);
      return { freed };
    }
    const records = this.#catalog.allOf(adapter);
    if (records.some(({ generation }) => generation !== undefined && this.#kept.has(generation))) {
      throw invalidField('id', 'is the default adapter of this server, which stays');
    }
    const isKeptByOthers = (generation: string): boolean => this.#pins.isPinnedByOthers(generation, adapter);
    for (const generation of new Set(records.flatMap((each) => each.generation ?? []))) {
      if (isKeptByOthers(generation)) continue;
      // Before those who wait for it have it loaded anew, which makes it known again.
      const whenGone = (): void => {
        freed.host += this.#hostCache.delete(generation);
        for (const each of records) if (each.generation === generation) this.#catalog.forget(each);
      };
      freed.device += await this.#residency.drain(generation, whenGone, signal);
    }
    for (const name of this.#names.namesOf(adapter)) this.#names.take(name);
    this.#pins.unpin(adapter);
    for (const each of records) {
      freed.disk += (await this.#options.removeFiles?.(idAtSource(each))) ?? 0;
    }
    const others = records.filter(({ generation }) => generation === undefined || isKeptByOthers(generation));
    this.#catalog.unloaded(adapter, others);
    return { freed };
  }

  /** Id and source, without a token: each request brings its own. */
  resolveName(name: string): AdapterReference | undefined {
    return this.#names.resolve(name);
  }

  /** Frees every adapter; none may be leased any more. */
  async dispose(): Promise<void> {
    await this.#residency.dispose();
    this.#hostCache.clear();
    await this.#options.loader.settle();
  }

  checkIntegrity(): void {
    this.#residency.checkIntegrity();
  }

  async #acquireOne(reference: AdapterReference, signal: AbortSignal): Promise<AdapterLease> {
    const { record, lease } = await this.#reside(reference, signal);
    const { generation, slot, batchTypes, heads, tokenizer } = present(
      lease.adapters[0],
      'the adapter that was leased',
    );
    const brought: Brought = {
      generation,
      slots: batchTypes.includes('lora') ? [{ slot, weight: 1 }] : [],
      batchTypes,
      heads: heads && { model: heads, generation },
      tokenizer: tokenizer?.tokenizer,
    };
    return this.#lease(brought, [record], lease);
  }

  async #acquireMerge({ members, recipe }: MergedReference, signal: AbortSignal): Promise<AdapterLease> {
    const opened: PreparedAdapter[] = [];
    try {
      const prepared = await mapLimited(members, members.length, signal, async ({ reference, weight }, shared) => {
        const adapter = await this.#preparation.prepare(reference, shared);
        opened.push(adapter);
        return { prepared: adapter, weight };
      });
      const generation = await this.#merges.check(prepared, recipe, signal);
      const records = prepared.map((member) => member.prepared.record);
      if (recipe.strategy === 'cat') return await this.#acquireCat(generation, prepared, records, signal);
      const merge = this.#merges.prepare(generation, prepared, recipe);
      const lease = await this.#residency.acquire([this.#want(merge, merge.adapterId)], signal);
      const slots = lease.adapters.map(({ slot }) => ({ slot, weight: 1 }));
      return this.#lease(
        { generation, slots, batchTypes: ['lora'], heads: undefined, tokenizer: undefined },
        records,
        lease,
      );
    } finally {
      for (const adapter of opened) adapter.close();
    }
  }

  /** Needs no merged copy: every member lies on the row with its weight. */
  async #acquireCat(
    generation: string,
    members: readonly PreparedMember[],
    records: readonly AdapterRecord[],
    signal: AbortSignal,
  ): Promise<AdapterLease> {
    // One content under two ids has one slot, which enters a row once.
    const byContent = new Map<string, PreparedMember>();
    for (const member of members) {
      const { generation: key } = member.prepared;
      byContent.set(key, { ...member, weight: member.weight + (byContent.get(key)?.weight ?? 0) });
    }
    const distinct = [...byContent.values()];
    const wants = distinct.map(({ prepared }) => this.#want(prepared, prepared.record.id, prepared.record));
    const lease = await this.#residency.acquire(wants, signal);
    const slots = lease.adapters.map(({ slot }, i) => ({ slot, weight: distinct[i]?.weight ?? 0 }));
    return this.#lease(
      { generation, slots, batchTypes: ['lora'], heads: undefined, tokenizer: undefined },
      records,
      lease,
    );
  }

  async #reside(reference: AdapterReference, signal: AbortSignal): Promise<Residence> {
    const prepared = await this.#preparation.prepare(reference, signal);
    try {
      const { record } = prepared;
      const lease = await this.#residency.acquire([this.#want(prepared, record.id, record)], signal);
      record.failure = undefined;
      this.#catalog.used(record);
      this.#pins.follow(record);
      return { record, lease };
    } finally {
      prepared.close();
    }
  }

  #want(
    { generation, deviceBytes, readHost }: Pick<PreparedAdapter, 'generation' | 'deviceBytes' | 'readHost'>,
    adapterId: string,
    record?: AdapterRecord,
  ): Want {
    return { generation, adapterId, deviceBytes, load: () => this.#load(generation, adapterId, readHost, record) };
  }

  async #load(
    generation: string,
    id: string,
    readHost: () => Promise<HostAdapter>,
    record?: AdapterRecord,
  ): Promise<ResidentAdapter> {
    const { observer } = this.#options;
    const begun = performance.now();
    // Whoever asked may leave meanwhile; what comes to memory is known all the same, so that it can be unloaded.
    if (record !== undefined) this.#catalog.used(record);
    try {
      const host = await readHost();
      const resident = await this.#place(generation, host, record).finally(() => host.tokenizer?.release());
      observer.onLoaded({ ...resident, id, source: record?.source }, performance.now() - begun);
      return resident;
    } catch (error) {
      observer.onLoadFailed();
      throw error;
    }
  }

  async #place(generation: string, host: HostAdapter, record: AdapterRecord | undefined): Promise<ResidentAdapter> {
    try {
      const placed = await this.#options.loader.place(host);
      host.tokenizer?.hold();
      return { generation, ...placed, batchTypes: host.batchTypes, tokenizer: host.tokenizer, report: host.report };
    } catch (error) {
      this.#hostCache.delete(generation);
      const remembered = this.#failures.remember(generation, error);
      record?.failed(error, remembered, this.#now());
      throw error;
    }
  }

  #evicted(adapter: ResidentAdapter): void {
    this.#options.loader.unload(adapter);
    adapter.tokenizer?.release();
    this.#options.observer.onEvicted(adapter);
  }

  #lease(brought: Brought, records: readonly AdapterRecord[], lease: ResidencyLease): AdapterLease {
    for (const record of records) {
      record.runningCount++;
      record.lastUsedAtMs = this.#now();
    }
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      for (const record of records) record.runningCount--;
      lease.release();
    };
    return { ...brought, release };
  }

  #find(idOrName: string, source: AdapterSource | undefined): AdapterRecord | undefined {
    const named = source === undefined ? this.#names.resolve(idOrName) : undefined;
    return named ? this.#catalog.find(named.id, named.source) : this.#catalog.find(idOrName, source);
  }

  #status(record: AdapterRecord): AdapterStatus {
    const generation = record.generation ?? '';
    return adapterStatus(record, this.#names.namesOf(record), {
      host: this.#hostCache.peek(generation),
      resident: this.#residency.resident(generation),
      facts: this.#preparation.facts(generation),
      isDraining: this.#residency.isDraining(generation),
      isPinned: this.#residency.isPinned(generation),
    });
  }
}

/** Once more where files changed under a reader's hands. */
async function untilAtRest<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt();
    } catch (error) {
      if (count === MAX_ATTEMPTS || signal.aborted || !isChangedError(error)) throw error;
    }
  }
}

/** The Hub's records are told apart by the `@revision` that callers ask for; its repositories have none. */
function idAtSource({ id, source }: NamedAdapter): NamedAdapter {
  return { id: source === 'hub' ? id.replace(/@.*$/, '') : id, source };
}

function notFound(adapterId: string, source: AdapterSource | undefined): LoraxError {
  return new LoraxError('ADAPTER_NOT_FOUND', { adapterId, source: source ?? 'any' });
}

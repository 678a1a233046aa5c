/**
 * What this server knows of each adapter that somebody named: found, fetched, identified, failed, in use. Bounded: the
 * ones that are named least and hold no memory are forgotten first. Holds no adapters.
 */

import { LoraxError } from '../../base/errors.ts';
import type { AdapterReference, AdapterSource } from '../../base/adapter-reference.ts';
import type { AdapterLocation } from '../../sources/source.ts';
import type { RememberedFailure } from './adapter-failures.ts';
import type { NamedAdapter } from './adapter-names.ts';
import type { AdapterFailure } from './adapter-status.ts';

const MAX_RECORDS = 4096;

/** One adapter under one id; changed content is another record once its generation is known. */
export class AdapterRecord implements NamedAdapter {
  /** The location's spelling, with the `@revision` that callers asked for. */
  readonly id: string;
  readonly source: AdapterSource;
  revision: string | undefined;
  generation: string | undefined;
  failure: AdapterFailure | undefined;
  fetchingCount = 0;
  diskBytes = 0;
  isOnDisk = false;
  runningCount = 0;
  lastUsedAtMs: number | undefined;

  constructor({ id, source }: NamedAdapter) {
    this.id = id;
    this.source = source;
  }

  get isBusy(): boolean {
    return this.fetchingCount > 0 || this.runningCount > 0;
  }

  failed(error: unknown, remembered: RememberedFailure | undefined, nowMs: number): void {
    const known = error instanceof LoraxError;
    // What is no LoraxError may tell about this machine, and its message is for the log.
    const reason = known ? error.message : 'an error on our side; the server log has the details';
    this.failure = { code: known ? error.code : 'INTERNAL', reason, retryAtMs: remembered?.retryAtMs ?? nowMs };
  }
}

/** What the catalog asks before it forgets a record. */
export type IsHeld = (generation: string) => boolean;

export class AdapterCatalog {
  /** Least recently named first; the records of old contents among them. */
  readonly #records = new Set<AdapterRecord>();
  /** The newest record of each id. */
  readonly #current = new Map<string, AdapterRecord>();
  /** Keys of those that were there before anybody named them. */
  readonly #found = new Set<string>();
  readonly #isHeld: IsHeld;

  constructor(isHeld: IsHeld) {
    this.#isHeld = isHeld;
  }

  get records(): readonly AdapterRecord[] {
    for (const record of this.#records) if (!this.#isCurrent(record) && !this.#isNeeded(record)) this.forget(record);
    return [...this.#records];
  }

  /** Known before anybody names it, and still once it is unloaded. */
  found(adapter: NamedAdapter): void {
    this.#found.add(keyOf(adapter));
    if (!this.#current.has(keyOf(adapter))) this.#add(adapter, undefined);
  }

  located(reference: AdapterReference, location: AdapterLocation): AdapterRecord {
    const named = { id: askedId(reference, location), source: location.source };
    const record = this.#current.get(keyOf(named));
    if (record === undefined || record.revision !== location.revision) return this.#add(named, location.revision);
    this.#records.delete(record);
    this.#records.add(record);
    return record;
  }

  /** The record of this content: the given one, or a newer one beside it. */
  identified(record: AdapterRecord, generation: string): AdapterRecord {
    record.generation ??= generation;
    return record.generation === generation ? record : this.#add(record, record.revision, generation);
  }

  /** The newest record of each id that matches, those of the given source. */
  find(id: string, source?: AdapterSource): AdapterRecord | undefined {
    const matching = this.records.filter((record) => record.id === id && (source ?? record.source) === record.source);
    return matching.findLast((record) => this.#isCurrent(record));
  }

  /** Every record of one id, old contents included. */
  allOf({ id, source }: NamedAdapter): readonly AdapterRecord[] {
    return this.records.filter((record) => record.id === id && record.source === source);
  }

  /** A record that was forgotten while a request waited is known again once its adapter is loaded for that request, or there. */
  used(record: AdapterRecord): void {
    this.#records.add(record);
    if (!this.#current.has(keyOf(record))) this.#current.set(keyOf(record), record);
  }

  /** Forgets these records of one id, which is known again where it was found. */
  unloaded(adapter: NamedAdapter, records: readonly AdapterRecord[]): void {
    for (const record of records) this.forget(record);
    const key = keyOf(adapter);
    if (this.#found.has(key) && !this.#current.has(key)) this.#add(adapter, undefined);
  }

  forget(record: AdapterRecord): void {
    this.#records.delete(record);
    if (this.#isCurrent(record)) this.#current.delete(keyOf(record));
  }

  #add(named: NamedAdapter, revision: string | undefined, generation?: string): AdapterRecord {
    const known = this.allOf(named).find(
      (other) => generation !== undefined && other.generation === generation && other.revision === revision,
    );
    const record = known ?? new AdapterRecord(named);
    record.revision = revision;
    record.generation = generation;
    this.#current.set(keyOf(named), record);
    this.#records.delete(record);
    this.#records.add(record);
    this.#shrink();
    return record;
  }

  #shrink(): void {
    if (this.#records.size <= MAX_RECORDS) return;
    for (const record of this.#records) {
      if (this.#isNeeded(record)) continue;
      this.forget(record);
      return;
    }
  }

  #isCurrent(record: AdapterRecord): boolean {
    return this.#current.get(keyOf(record)) === record;
  }

  #isNeeded({ isBusy, generation }: AdapterRecord): boolean {
    return isBusy || (generation !== undefined && this.#isHeld(generation));
  }
}

function keyOf({ id, source }: NamedAdapter): string {
  return `${source} ${id}`;
}

/** A source answers in its own spelling, and leaves out the `@revision` by which callers tell one place from another. */
export function askedId(reference: AdapterReference, location: AdapterLocation): string {
  const revisionAt = reference.id.lastIndexOf('@');
  const hasRevision = revisionAt > 0 && reference.id.slice(0, revisionAt) === location.id;
  return hasRevision ? reference.id : location.id;
}

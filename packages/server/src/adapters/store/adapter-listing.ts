/**
 * The adapters as users see them: found by an id or a name, and told from what the catalog, the names and the tiers know.
 * Changes nothing.
 */

import type { AdapterSource } from '../../base/adapter-reference.ts';
import type { AdapterCatalog, AdapterRecord } from './adapter-catalog.ts';
import type { AdapterNames } from './adapter-names.ts';
import type { AdapterPreparation } from './adapter-preparation.ts';
import { adapterStatus } from './adapter-state.ts';
import type { AdapterStatus } from './adapter-status.ts';
import type { HostCache } from './host-cache.ts';
import type { Residency } from './residency.ts';

export interface ListingParts {
  readonly catalog: Pick<AdapterCatalog, 'records' | 'find'>;
  readonly names: Pick<AdapterNames, 'resolve' | 'namesOf'>;
  readonly preparation: Pick<AdapterPreparation, 'facts'>;
  readonly hostCache: Pick<HostCache, 'peek'>;
  readonly residency: Pick<Residency, 'resident' | 'isDraining' | 'isPinned'>;
}

export class AdapterListing {
  readonly #parts: ListingParts;

  constructor(parts: ListingParts) {
    this.#parts = parts;
  }

  statuses(): AdapterStatus[] {
    return this.#parts.catalog.records.map((record) => this.status(record));
  }

  /** With a source it is an id in it; without, a name or else an id in any source. */
  find(idOrName: string, source?: AdapterSource): AdapterStatus | undefined {
    const { catalog, names } = this.#parts;
    const named = names.resolve(idOrName, source);
    const record = named ? catalog.find(named.id, named.source) : catalog.find(idOrName, source);
    return record && this.status(record);
  }

  status(record: AdapterRecord): AdapterStatus {
    const { names, preparation, hostCache, residency } = this.#parts;
    const generation = record.generation ?? '';
    return adapterStatus(record, names.namesOf(record), {
      host: hostCache.peek(generation),
      resident: residency.resident(generation),
      facts: preparation.facts(generation),
      isDraining: residency.isDraining(generation),
      isPinned: residency.isPinned(generation),
    });
  }
}

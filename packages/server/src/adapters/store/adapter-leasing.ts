/**
 * Adapters on their way to a request's rows: prepared for this caller, made resident, and leased until the request ends;
 * of several adapters what their merge brings. Knows no names, and neither how room is made nor how anything is read.
 */

import type { AdapterChoice, AdapterReference, MergedReference } from '../../base/adapter-reference.ts';
import { present } from '../../base/assert.ts';
import { mapLimited } from '../../base/limited.ts';
import type { AdapterCatalog, AdapterRecord } from './adapter-catalog.ts';
import { untilAtRest } from './adapter-generations.ts';
import { makeLease, type AdapterLease } from './adapter-lease.ts';
import type { AdapterMerges, PreparedMember } from './adapter-merges.ts';
import type { AdapterPins } from './adapter-pins.ts';
import type { AdapterPlacement, Placeable } from './adapter-placement.ts';
import type { AdapterPreparation, PreparedAdapter } from './adapter-preparation.ts';
import type { Residency, ResidencyLease } from './residency.ts';
import type { Want } from './residency-table.ts';

/** One adapter, resident until the lease is released. */
export interface Residence {
  readonly record: AdapterRecord;
  readonly lease: ResidencyLease;
}

/** What enters a row with a weight: an adapter, or a merge. */
interface WeightedWant {
  readonly want: Want;
  readonly weight: number;
}

export interface LeasingParts {
  readonly preparation: Pick<AdapterPreparation, 'prepare'>;
  readonly merges: Pick<AdapterMerges, 'check' | 'prepare'>;
  readonly residency: Pick<Residency, 'acquire'>;
  readonly placement: Pick<AdapterPlacement, 'place'>;
  readonly catalog: Pick<AdapterCatalog, 'used'>;
  readonly pins: Pick<AdapterPins, 'follow'>;
  readonly now: () => number;
}

export class AdapterLeasing {
  readonly #parts: LeasingParts;

  constructor(parts: LeasingParts) {
    this.#parts = parts;
  }

  /** For a request that runs. Rejects with a 4xx or 503 where it cannot be had by this caller. */
  acquire(choice: AdapterChoice, signal: AbortSignal): Promise<AdapterLease> {
    return untilAtRest(signal, () =>
      'members' in choice ? this.#acquireMerge(choice, signal) : this.#acquireOne(choice, signal),
    );
  }

  /** For whoever wants it to be there, and no request to run. Rejects as `acquire` does. */
  reside(reference: AdapterReference, signal: AbortSignal): Promise<Residence> {
    return untilAtRest(signal, () => this.#reside(reference, signal));
  }

  async #acquireOne(reference: AdapterReference, signal: AbortSignal): Promise<AdapterLease> {
    const { record, lease } = await this.#reside(reference, signal);
    const adapter = present(lease.adapters[0], 'the adapter that was leased');
    const { generation, slot, batchTypes, heads, tokenizer } = adapter;
    const brought = {
      generation,
      slots: batchTypes.includes('lora') ? [{ slot, weight: 1 }] : [],
      batchTypes,
      heads: heads && { model: heads, generation },
      tokenizer: tokenizer?.tokenizer,
    };
    return makeLease(brought, [record], this.#parts.now(), () => lease.release());
  }

  async #reside(reference: AdapterReference, signal: AbortSignal): Promise<Residence> {
    const { preparation, residency, catalog, pins } = this.#parts;
    const prepared = await preparation.prepare(reference, signal);
    try {
      const { record } = prepared;
      const lease = await residency.acquire([this.#want(prepared)], signal);
      record.failure = undefined;
      catalog.used(record);
      pins.follow(record);
      return { record, lease };
    } finally {
      prepared.close();
    }
  }

  async #acquireMerge({ members, recipe }: MergedReference, signal: AbortSignal): Promise<AdapterLease> {
    const { preparation, merges } = this.#parts;
    const opened: PreparedAdapter[] = [];
    try {
      const prepared = await mapLimited(members, members.length, signal, async ({ reference, weight }, shared) => {
        const adapter = await preparation.prepare(reference, shared);
        opened.push(adapter);
        return { prepared: adapter, weight };
      });
      const generation = await merges.check(prepared, recipe, signal);
      const wants =
        recipe.strategy === 'cat'
          ? this.#wantsOfCat(prepared)
          : [{ want: this.#want(merges.prepare(generation, prepared, recipe)), weight: 1 }];
      const records = prepared.map((member) => member.prepared.record);
      return await this.#leaseRow(generation, wants, records, signal);
    } finally {
      for (const adapter of opened) adapter.close();
    }
  }

  /** Needs no merged copy: every member lies on the row with its weight. */
  #wantsOfCat(members: readonly PreparedMember[]): WeightedWant[] {
    // One content under two ids has one slot, which enters a row once.
    const byContent = new Map<string, PreparedMember>();
    for (const member of members) {
      const { generation } = member.prepared;
      byContent.set(generation, { ...member, weight: member.weight + (byContent.get(generation)?.weight ?? 0) });
    }
    return [...byContent.values()].map(({ prepared, weight }) => ({ want: this.#want(prepared), weight }));
  }

  async #leaseRow(
    generation: string,
    wants: readonly WeightedWant[],
    records: readonly AdapterRecord[],
    signal: AbortSignal,
  ): Promise<AdapterLease> {
    const asked = wants.map(({ want }) => want);
    const lease = await this.#parts.residency.acquire(asked, signal);
    const slots = lease.adapters.map(({ slot }, i) => ({ slot, weight: wants[i]?.weight ?? 0 }));
    const brought = { generation, slots, batchTypes: ['lora'], heads: undefined, tokenizer: undefined } as const;
    return makeLease(brought, records, this.#parts.now(), () => lease.release());
  }

  #want(adapter: Placeable & Pick<Want, 'deviceBytes'>): Want {
    const { placement, catalog } = this.#parts;
    const { generation, adapterId, deviceBytes, record } = adapter;
    const load: Want['load'] = () => {
      // Whoever asked may leave meanwhile; what comes to memory is known all the same, so that it can be unloaded.
      if (record !== undefined) catalog.used(record);
      return placement.place(adapter);
    };
    return { generation, adapterId, deviceBytes, load };
  }
}

/**
 * Counts of drafted and accepted tokens by adapter and place. Steps add to plain numbers; labels are made when somebody
 * reads. Only so many adapters have numbers of their own: every label is a series that the reader keeps.
 */

import type { VerifiedDraft } from '../engine/drafting/drafting-observer.ts';
import type { CounterSample } from '../telemetry/metrics.ts';

const MAX_ADAPTERS = 64;
/** Stands for all adapters that came after those. */
const OTHER = 'other';

interface AdapterCounts {
  draftCount: number;
  readonly drafted: number[];
  readonly accepted: number[];
}

export class DraftTally {
  readonly #byAdapter = new Map<string, AdapterCounts>();

  add({ adapter, drafted, acceptedCount }: VerifiedDraft): void {
    const counts = this.#countsOf(adapter);
    counts.draftCount++;
    for (const [place, count] of drafted.entries()) {
      counts.drafted[place] = (counts.drafted[place] ?? 0) + count;
      counts.accepted[place] = (counts.accepted[place] ?? 0) + Number(place < acceptedCount);
    }
  }

  drafts(): CounterSample<'adapter'>[] {
    return [...this.#byAdapter].map(([adapter, { draftCount }]) => ({ labels: { adapter }, value: draftCount }));
  }

  drafted(): CounterSample<'adapter' | 'place'>[] {
    return this.#byPlace((counts) => counts.drafted);
  }

  accepted(): CounterSample<'adapter' | 'place'>[] {
    return this.#byPlace((counts) => counts.accepted);
  }

  /** Places are counted from 1: the token after the one that a step chooses in any case. */
  #byPlace(select: (counts: AdapterCounts) => readonly number[]): CounterSample<'adapter' | 'place'>[] {
    return [...this.#byAdapter].flatMap(([adapter, counts]) =>
      select(counts).map((value, place) => ({ labels: { adapter, place: place + 1 }, value })),
    );
  }

  #countsOf(adapter: string): AdapterCounts {
    const known = this.#byAdapter.get(adapter);
    if (known !== undefined) return known;
    if (this.#byAdapter.size >= MAX_ADAPTERS && adapter !== OTHER) return this.#countsOf(OTHER);
    const fresh: AdapterCounts = { draftCount: 0, drafted: [], accepted: [] };
    this.#byAdapter.set(adapter, fresh);
    return fresh;
  }
}

/**
 * Who has a place in device memory: bytes and places, leases and pins, and who must leave when others come. Decides
 * nothing about waiting; knows no files.
 */

import { assert, present } from '../../base/assert.ts';
import { invalidField, LoraxError } from '../../base/errors.ts';
import type { AdapterSlot } from '../../backend/adapters.ts';
import type { MedusaModel } from '../../layers/medusa/medusa-model.ts';
import type { SharedTokenizer } from './shared-tokenizer.ts';
import type { BatchType } from '../adapter-config.ts';
import { ByteBudget, type Reservation } from './byte-budget.ts';
import { EvictionOrder } from './eviction-order.ts';
import type { LoadReport } from '../load-report.ts';

export interface ResidentAdapter {
  readonly generation: string;
  readonly slot: AdapterSlot;
  readonly batchTypes: readonly BatchType[];
  /** Its draft heads. */
  readonly heads: MedusaModel | undefined;
  readonly tokenizer: SharedTokenizer | undefined;
  /** Undefined for a merge. */
  readonly report: LoadReport | undefined;
}

/** An adapter that somebody wants resident, and how to make it so. */
export interface Want {
  readonly generation: string;
  /** For messages. */
  readonly adapterId: string;
  /** An upper estimate of its bytes on the device. */
  readonly deviceBytes: number;
  /** Called once room was made. */
  load(): Promise<ResidentAdapter>;
}

export interface Entry {
  readonly generation: string;
  readonly loading: Promise<ResidentAdapter>;
  readonly reservation: Reservation;
  resident: ResidentAdapter | undefined;
  leaseCount: number;
}

export interface ResidencyLimits {
  readonly budgetBytes: number;
  readonly maxCount: number;
}

/** Share of the memory and of the places that adapters may keep against newcomers which were used once. */
const PROTECTED_SHARE = 0.8;
/** Evicted adapters that are remembered, unless there are more places. */
const MIN_GHOSTS = 256;

export class ResidencyTable {
  readonly #limits: ResidencyLimits;
  readonly #budget: ByteBudget;
  readonly #order: EvictionOrder;
  readonly #entries = new Map<string, Entry>();
  /** How often each generation is pinned. */
  readonly #pins = new Map<string, number>();
  readonly #onEvict: (adapter: ResidentAdapter) => void;

  constructor(limits: ResidencyLimits, onEvict: (adapter: ResidentAdapter) => void) {
    const { budgetBytes, maxCount } = limits;
    this.#limits = limits;
    this.#onEvict = onEvict;
    this.#budget = new ByteBudget(budgetBytes);
    this.#order = new EvictionOrder({
      protectedCount: Math.max(1, Math.floor(maxCount * PROTECTED_SHARE)),
      protectedBytes: budgetBytes * PROTECTED_SHARE,
      ghostCount: Math.max(MIN_GHOSTS, maxCount),
    });
  }

  get usedBytes(): number {
    return this.#budget.usedBytes;
  }

  get entries(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  get(generation: string): Entry | undefined {
    return this.#entries.get(generation);
  }

  isPinned(generation: string): boolean {
    return this.#pins.has(generation);
  }

  pin(generation: string): void {
    this.#pins.set(generation, (this.#pins.get(generation) ?? 0) + 1);
  }

  unpin(generation: string): void {
    const count = present(this.#pins.get(generation), 'the pin of a generation');
    if (count === 1) this.#pins.delete(generation);
    else this.#pins.set(generation, count - 1);
  }

  /** Why these can never be resident together, however long they wait; undefined where they can. */
  fault(wants: readonly Want[]): LoraxError | undefined {
    const { budgetBytes, maxCount } = this.#limits;
    const bytes = sum(
      wants.map((want) => this.#entries.get(want.generation)?.reservation.byteLength ?? want.deviceBytes),
    );
    const adapterId = wants.map((want) => want.adapterId).join(' + ');
    if (wants.length > maxCount) {
      return invalidField('merged_adapters', `names ${wants.length} adapters; at most ${maxCount} fit together`);
    }
    if (bytes > budgetBytes) return new LoraxError('ADAPTER_TOO_LARGE', { adapterId, neededBytes: bytes, budgetBytes });
    const others = this.entries.filter(({ generation }) => this.isPinned(generation) && !isAmong(wants, generation));
    const pinnedBytes = sum(others.map(({ reservation }) => reservation.byteLength));
    if (bytes + pinnedBytes <= budgetBytes && wants.length + others.length <= maxCount) return undefined;
    return new LoraxError('OUT_OF_MEMORY', { what: `adapter \`${adapterId}\` beside the pinned ones` });
  }

  missing(wants: readonly Want[]): readonly Want[] {
    return wants.filter(({ generation }) => !this.#entries.has(generation));
  }

  /** Makes room for those that are missing, by evicting idle ones; false, and nobody evicted, where that is not enough. */
  makeRoom(wants: readonly Want[]): boolean {
    const victims = this.#victims(wants, (entry) => isIdle(entry));
    for (const victim of victims ?? []) this.evict(victim);
    return victims !== undefined;
  }

  /** Those that must end their running requests and leave before these can come. */
  yielding(wants: readonly Want[]): ReadonlySet<string> {
    return new Set(this.#victims(wants, () => true)?.map(({ generation }) => generation));
  }

  /** A use of a resident adapter, or of one on its way. */
  lease(entry: Entry): void {
    entry.leaseCount++;
    // Requests that wait for one load are one use of the adapter: a burst of twins does not make it popular.
    if (entry.resident) this.#order.touch(entry.generation);
  }

  /** Takes room that `makeRoom` made. */
  insert({ generation, deviceBytes }: Want, loading: Promise<ResidentAdapter>): Entry {
    const reservation = this.#budget.reserve(deviceBytes);
    const entry: Entry = { generation, loading, reservation, resident: undefined, leaseCount: 0 };
    this.#entries.set(generation, entry);
    this.#order.add(generation, deviceBytes);
    return entry;
  }

  loaded(entry: Entry, resident: ResidentAdapter): void {
    entry.resident = resident;
    entry.reservation.resize(resident.slot.byteLength);
    this.#order.resize(entry.generation, resident.slot.byteLength);
  }

  /** Gives everything back that a failed load had reserved. */
  drop(entry: Entry): void {
    this.#remove(entry, 'forgotten');
  }

  evict(entry: Entry): void {
    assert(isIdle(entry), 'only idle adapters are evicted');
    this.#remove(entry, 'evicted');
    this.#onEvict(present(entry.resident, 'the evicted adapter'));
  }

  checkIntegrity(): void {
    const held = sum(this.entries.map(({ reservation }) => reservation.byteLength));
    assert(held === this.#budget.usedBytes, 'the budget is what the entries hold');
    assert(this.#entries.size <= this.#limits.maxCount, 'there are no more entries than places');
    assert([...this.#order.victims()].length === this.#entries.size, 'every entry is in the order, and nothing else');
  }

  #remove(entry: Entry, reason: 'evicted' | 'forgotten'): void {
    this.#entries.delete(entry.generation);
    this.#order.remove(entry.generation, reason);
    entry.reservation.release();
  }

  /** As few as needed, the least useful first; undefined where even all of them do not make room. */
  #victims(wants: readonly Want[], mayLeave: (entry: Entry) => boolean): Entry[] | undefined {
    const missing = this.missing(wants);
    let lackingBytes = sum(missing.map(({ deviceBytes }) => deviceBytes)) - this.#spareBytes();
    let lackingCount = missing.length - (this.#limits.maxCount - this.#entries.size);
    const victims: Entry[] = [];
    if (missing.length === 0) return victims;
    for (const generation of this.#order.victims()) {
      if (lackingBytes <= 0 && lackingCount <= 0) break;
      const entry = present(this.#entries.get(generation), 'the entry of a key in the order');
      if (this.isPinned(generation) || isAmong(wants, generation) || !mayLeave(entry)) continue;
      victims.push(entry);
      lackingBytes -= entry.reservation.byteLength;
      lackingCount--;
    }
    return lackingBytes <= 0 && lackingCount <= 0 ? victims : undefined;
  }

  /** Negative where loads came out larger than they were reserved. */
  #spareBytes(): number {
    return this.#limits.budgetBytes - this.#budget.usedBytes;
  }
}

function isIdle({ resident, leaseCount }: Entry): boolean {
  return resident !== undefined && leaseCount === 0;
}

function isAmong(wants: readonly Want[], generation: string): boolean {
  return wants.some((want) => want.generation === generation);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/**
 * The device tier: makes adapters resident for as long as somebody leases them, several for one request at once or not
 * at all, so that two requests never wait for each other's half. Who waits is served in order of arrival where room allows;
 * others may pass for a while, so that a large adapter neither stops small ones nor starves. Knows no files and no callers.
 */

import { present } from '../../base/assert.ts';
import { LoraxError } from '../../base/errors.ts';
import { untilAborted } from '../../base/until-aborted.ts';
import {
  ResidencyTable,
  type Entry,
  type ResidencyLimits,
  type ResidentAdapter,
  type Want,
} from './residency-table.ts';

/** After so long nobody passes any more, and adapters in the way get no new requests until they left. */
const PATIENCE_MS = 2000;

export interface ResidencyLease {
  /** In the order of the wants. */
  readonly adapters: readonly ResidentAdapter[];
  /** Idempotent. */
  release(): void;
}

export interface ResidencyOptions extends ResidencyLimits {
  /** Frees what an adapter holds on the device. */
  readonly onEvict: (adapter: ResidentAdapter) => void;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** A request that waits for room. */
interface Ticket {
  readonly wants: readonly Want[];
  readonly arrivedAtMs: number;
  readonly admit: (entries: readonly Entry[]) => void;
  readonly refuse: (error: unknown) => void;
}

export class Residency {
  readonly #options: ResidencyOptions;
  readonly #table: ResidencyTable;
  /** In order of arrival. */
  readonly #waiting = new Set<Ticket>();
  /** How many wait for each generation to leave. */
  readonly #draining = new Map<string, number>();
  readonly #watchers = new Set<() => void>();
  #isClosed = false;

  constructor(options: ResidencyOptions) {
    this.#options = options;
    this.#table = new ResidencyTable(options, options.onEvict);
  }

  get residents(): readonly ResidentAdapter[] {
    return this.#table.entries.flatMap(({ resident }) => resident ?? []);
  }

  /** Of residents, and reserved for those that are being loaded. */
  get usedBytes(): number {
    return this.#table.usedBytes;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** Resident, or on its way. */
  has(generation: string): boolean {
    return this.#table.get(generation) !== undefined;
  }

  resident(generation: string): ResidentAdapter | undefined {
    return this.#table.get(generation)?.resident;
  }

  isPinned(generation: string): boolean {
    return this.#table.isPinned(generation);
  }

  isDraining(generation: string): boolean {
    return this.#draining.has(generation);
  }

  pin(generation: string): void {
    this.#table.pin(generation);
  }

  unpin(generation: string): void {
    this.#table.unpin(generation);
    this.#advance();
  }

  /** All of them resident, each named once. Rejects with what a load rejects with, or ADAPTER_TOO_LARGE, OUT_OF_MEMORY. */
  async acquire(wants: readonly Want[], signal: AbortSignal): Promise<ResidencyLease> {
    signal.throwIfAborted();
    const entries = await this.#admission(wants, signal);
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      for (const entry of entries) this.#leave(entry);
    };
    try {
      const adapters = await untilAborted(Promise.all(entries.map(({ loading }) => loading)), signal);
      if (this.#isClosed) throw new LoraxError('SHUTTING_DOWN');
      return { adapters, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Lets running requests end and frees the adapter; new requests wait meanwhile, until `whenGone` has run.
   * The bytes that became free. Where the signal ends it the adapter stays.
   */
  async drain(generation: string, whenGone: () => void, signal: AbortSignal): Promise<number> {
    const heldBytes = this.#table.get(generation)?.reservation.byteLength ?? 0;
    this.#draining.set(generation, (this.#draining.get(generation) ?? 0) + 1);
    try {
      for (let entry = this.#table.get(generation); entry; entry = this.#table.get(generation)) {
        if (entry.leaseCount === 0 && entry.resident) this.#table.evict(entry);
        else await this.#change(signal);
      }
      whenGone();
      return heldBytes;
    } finally {
      const others = present(this.#draining.get(generation), 'the count of those who drain') - 1;
      if (others === 0) this.#draining.delete(generation);
      else this.#draining.set(generation, others);
      this.#advance();
    }
  }

  /** Refuses who waits, lets leases end, and frees every adapter. */
  async dispose(): Promise<void> {
    this.#isClosed = true;
    for (const ticket of this.#waiting) ticket.refuse(new LoraxError('SHUTTING_DOWN'));
    this.#waiting.clear();
    for (const { generation } of this.#table.entries) {
      await this.drain(generation, () => undefined, new AbortController().signal);
    }
  }

  checkIntegrity(): void {
    this.#table.checkIntegrity();
  }

  async #admission(wants: readonly Want[], signal: AbortSignal): Promise<readonly Entry[]> {
    if (this.#isClosed) throw new LoraxError('SHUTTING_DOWN');
    const fault = this.#table.fault(wants);
    if (fault) throw fault;
    return this.#tryAdmit(wants) ?? this.#wait(wants, signal);
  }

  async #wait(wants: readonly Want[], signal: AbortSignal): Promise<readonly Entry[]> {
    let admitted: readonly Entry[] | undefined;
    let ticket: Ticket | undefined;
    const admission = new Promise<readonly Entry[]>((resolve, reject) => {
      const admit = (entries: readonly Entry[]): void => resolve((admitted = entries));
      ticket = { wants, arrivedAtMs: this.#options.now(), admit, refuse: reject };
      this.#waiting.add(ticket);
    });
    try {
      return await untilAborted(admission, signal);
    } catch (error) {
      if (ticket && this.#waiting.delete(ticket)) this.#advance();
      // Room may have come in the very moment in which he left.
      for (const entry of admitted ?? []) this.#leave(entry);
      throw error;
    }
  }

  /** Takes from the line whoever can be served, or never will be. */
  #advance(): void {
    for (const ticket of this.#waiting) {
      const fault = this.#table.fault(ticket.wants);
      const entries = fault ? undefined : this.#tryAdmit(ticket.wants, ticket);
      if (fault === undefined && entries === undefined) continue;
      this.#waiting.delete(ticket);
      if (entries) ticket.admit(entries);
      else ticket.refuse(fault);
    }
    for (const wake of this.#watchers) wake();
    this.#watchers.clear();
  }

  #tryAdmit(wants: readonly Want[], ticket?: Ticket): readonly Entry[] | undefined {
    if (this.#isBlocked(wants)) return undefined;
    const first = this.#impatient();
    if (first !== undefined && first !== ticket && this.#isInTheWay(wants, first)) return undefined;
    if (!this.#table.makeRoom(wants)) return undefined;
    return wants.map((want) => this.#enter(want));
  }

  #isBlocked(wants: readonly Want[]): boolean {
    return wants.some(({ generation }) => this.#draining.has(generation));
  }

  /** Who has waited longest, if that is too long. */
  #impatient(): Ticket | undefined {
    for (const ticket of this.#waiting) {
      if (this.#options.now() - ticket.arrivedAtMs < PATIENCE_MS) return undefined;
      if (!this.#isBlocked(ticket.wants)) return ticket;
    }
    return undefined;
  }

  /** Whoever takes room, or keeps those running that have to make room. */
  #isInTheWay(wants: readonly Want[], first: Ticket): boolean {
    if (this.#table.missing(wants).length > 0) return true;
    const yielding = this.#table.yielding(first.wants);
    return wants.some(({ generation }) => yielding.has(generation));
  }

  #enter(want: Want): Entry {
    const entry = this.#table.get(want.generation) ?? this.#start(want);
    this.#table.lease(entry);
    return entry;
  }

  /** A load serves every request that waits for it, so no single caller's signal ends it. */
  #start(want: Want): Entry {
    const entry = this.#table.insert(want, want.load());
    entry.loading.then(
      (resident) => {
        this.#table.loaded(entry, resident);
        // Whoever wanted it may be gone by now, and then it is in the way of others.
        this.#advance();
      },
      () => {
        this.#table.drop(entry);
        this.#advance();
      },
    );
    return entry;
  }

  #leave(entry: Entry): void {
    entry.leaseCount--;
    if (entry.leaseCount === 0) this.#advance();
  }

  /** Settles when something may have left, or rejects with the signal's reason. */
  async #change(signal: AbortSignal): Promise<void> {
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    this.#watchers.add(wake);
    await untilAborted(woken, signal).finally(() => this.#watchers.delete(wake));
  }
}

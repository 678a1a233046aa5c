/**
 * Several adapters as one: `cat` puts all of them on a row, the other strategies make a new adapter of them, which is cached
 * by its content like any other. Knows how a merge is named and when it is computed, not how.
 */

import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { MergeRecipe } from '../../base/adapter-reference.ts';
import { LoraxError } from '../../base/errors.ts';
import { SharedJobs } from '../../sources/shared-jobs.ts';
import { tensorBytes } from '../adapter-copy.ts';
import type { AdapterFailures } from './adapter-failures.ts';
import { GENERATION_LEN } from './adapter-generations.ts';
import type { AdapterLoader, HostAdapter } from '../adapter-loader.ts';
import type { PreparedAdapter } from './adapter-preparation.ts';
import type { HostCache } from './host-cache.ts';
import { mergeAdapters } from '../merging/merge.ts';
import { checkMergeable, type MergeMember } from '../merging/mergeable.ts';

export interface PreparedMember {
  readonly prepared: PreparedAdapter;
  readonly weight: number;
}

/** A merge whose result is an adapter of its own. */
export interface PreparedMerge {
  readonly generation: string;
  readonly adapterId: string;
  readonly deviceBytes: number;
  readHost(): Promise<HostAdapter>;
}

export interface MergesParts {
  readonly loader: AdapterLoader;
  readonly hostCache: HostCache;
  readonly failures: AdapterFailures;
  readonly budgetBytes: number;
}

/** Merges whose fit and size are remembered. */
const MAX_KNOWN = 4096;

export class AdapterMerges {
  readonly #parts: MergesParts;
  readonly #mergeable = new LRUCache<string, true>({ max: MAX_KNOWN });
  readonly #deviceBytes = new LRUCache<string, number>({ max: MAX_KNOWN });
  readonly #checking = new SharedJobs<void>();
  /** Merges hold all their members in memory, so one is computed after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: MergesParts) {
    this.#parts = parts;
  }

  /** Identity of the merge: its recipe, and each member's content and weight, in any order. */
  generationOf(members: readonly PreparedMember[], { strategy, density, majoritySign }: MergeRecipe): string {
    const parts = members.map(({ prepared, weight }) => `${prepared.generation} ${weight}`).toSorted();
    const text = ['merge', strategy, density ?? '', majoritySign, ...parts].join('\n');
    return createHash('sha256').update(text).digest('hex').slice(0, GENERATION_LEN);
  }

  /** Rejects with a 422 where these adapters do not fit together, before anybody has to make room for them. */
  async check(members: readonly PreparedMember[], recipe: MergeRecipe, signal: AbortSignal): Promise<string> {
    const generation = this.generationOf(members, recipe);
    const { failures } = this.#parts;
    if (this.#mergeable.has(generation)) return generation;
    failures.check(generation);
    try {
      await this.#checking.run(generation, signal, () =>
        this.#inTurn(() => withHosts(members, async (hosts) => checkMergeable(hosts, recipe))),
      );
      this.#mergeable.set(generation, true);
      return generation;
    } catch (error) {
      if (!signal.aborted) failures.remember(generation, error);
      throw error;
    }
  }

  /** For every strategy but `cat`, after `check`. */
  prepare(generation: string, members: readonly PreparedMember[], recipe: MergeRecipe): PreparedMerge {
    const sumBytes = members.reduce((sum, { prepared }) => sum + prepared.deviceBytes, 0);
    // What a merge will take is known once it was made; no strategy makes more of its members than they were together.
    const deviceBytes = this.#deviceBytes.get(generation) ?? Math.min(sumBytes, this.#parts.budgetBytes);
    const adapterId = members.map(({ prepared }) => prepared.record.id).join(' + ');
    const readHost = (): Promise<HostAdapter> => this.#readHost(generation, adapterId, members, recipe);
    return { generation, adapterId, deviceBytes, readHost };
  }

  async #readHost(
    generation: string,
    adapterId: string,
    members: readonly PreparedMember[],
    recipe: MergeRecipe,
  ): Promise<HostAdapter> {
    const { hostCache, failures } = this.#parts;
    const cached = hostCache.get(generation);
    if (cached !== undefined) return cached;
    try {
      const host = await this.#inTurn(() => withHosts(members, (hosts) => merge(hosts, recipe, generation)));
      this.#checkSize(generation, adapterId, host);
      hostCache.put(generation, host);
      return host;
    } catch (error) {
      failures.remember(generation, error);
      throw error;
    }
  }

  #checkSize(generation: string, adapterId: string, { tensors }: HostAdapter): void {
    const { loader, budgetBytes } = this.#parts;
    const neededBytes = loader.deviceBytes(tensors);
    if (neededBytes > budgetBytes) throw new LoraxError('ADAPTER_TOO_LARGE', { adapterId, neededBytes, budgetBytes });
    this.#deviceBytes.set(generation, neededBytes);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** The same request gives the same merge: where it draws at random, the merge's own identity is the seed. */
async function merge(members: readonly MergeMember[], recipe: MergeRecipe, generation: string): Promise<HostAdapter> {
  const { signal } = new AbortController();
  const tensors = await mergeAdapters(members, recipe, BigInt(`0x${generation}`), signal);
  return {
    tensors,
    batchTypes: ['lora'],
    heads: undefined,
    report: undefined,
    tokenizer: undefined,
    byteLength: tensorBytes(tensors),
  };
}

/** The members in memory for as long as `use` takes. */
async function withHosts<T>(
  members: readonly PreparedMember[],
  use: (hosts: readonly MergeMember[]) => Promise<T>,
): Promise<T> {
  const hosts: HostAdapter[] = [];
  try {
    for (const { prepared } of members) hosts.push(await prepared.readHost());
    const named = members.map(({ prepared, weight }, i) => ({ id: prepared.record.id, weight, host: hosts[i] }));
    return await use(named.flatMap(({ host, ...member }) => (host ? { ...member, tensors: host.tensors } : [])));
  } finally {
    for (const { tokenizer } of hosts) tokenizer?.release();
  }
}

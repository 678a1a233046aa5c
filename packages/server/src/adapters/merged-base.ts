/**
 * The one adapter of a server whose base it is part of: found and read at the start, leased to every request without
 * anything of its own in the rows. Stands where an adapter store stands otherwise.
 */

import type { AdapterChoice, AdapterReference, AdapterSource } from '../base/adapter-reference.ts';
import { invalidField, LoraxError } from '../base/errors.ts';
import type { LowRankFactors } from '../backend/adapters.ts';
import { AdapterRecord, askedId } from './store/adapter-catalog.ts';
import { Generations } from './store/adapter-generations.ts';
import { makeLease, type AdapterLease } from './store/adapter-lease.ts';
import type { AdapterLoader, HostAdapter } from './adapter-loader.ts';
import { partsOf, type CheckAccess } from './store/adapter-preparation.ts';
import type { AdapterStatus } from './store/adapter-status.ts';
import type { AdapterStore, LoadOptions } from './store/adapter-store.ts';
import { baseMerge } from './base-merge.ts';

export interface MergedBaseParts {
  /** With the operator's own token: who may use the server may use the adapter. */
  readonly reference: AdapterReference;
  readonly access: CheckAccess;
  readonly loader: AdapterLoader;
  /** As the adapter store has it, so that an adapter has the same generation beside the base and in it. */
  readonly baseIdentity: string;
}

/** What the base has to be loaded with, and who answers for the adapter afterwards. */
export interface BaseMerge {
  readonly factors: ReadonlyMap<string, LowRankFactors>;
  readonly adapters: MergedBase;
}

/** Rejects as a request for the adapter would, and with ADAPTER_INVALID where it does more than add to weights. */
export async function readBaseMerge(parts: MergedBaseParts, signal: AbortSignal): Promise<BaseMerge> {
  const { reference, access, loader, baseIdentity } = parts;
  const location = await access.check(reference, signal);
  const record = new AdapterRecord({ id: askedId(reference, location), source: location.source });
  const generations = new Generations(baseIdentity);
  const folder = await location.fetch({ signal });
  let host: HostAdapter | undefined;
  try {
    const generation = await generations.identify(location, folder, signal);
    host = await loader.read(folder.folder, record.id, signal);
    await generations.checkUnchanged(generation, location, folder, signal);
    const factors = baseMerge(host.tensors, record.id);
    record.revision = location.revision;
    record.diskBytes = folder.byteLength;
    return { factors, adapters: new MergedBase(parts, record, generation, host) };
  } catch (error) {
    host?.tokenizer?.release();
    await loader.settle();
    throw error;
  } finally {
    folder.release();
  }
}

export class MergedBase implements Omit<AdapterStore, 'checkIntegrity'> {
  /** Beside the base there is none, and nothing that would take memory. */
  readonly residents: AdapterStore['residents'] = [];
  readonly deviceBytes = 0;
  readonly hostBytes = 0;
  readonly waitingCount = 0;
  readonly generation: string;
  readonly #asked: AdapterReference;
  readonly #record: AdapterRecord;
  readonly #loader: AdapterLoader;
  readonly #tokenizer: HostAdapter['tokenizer'];
  readonly #report: HostAdapter['report'];

  constructor(
    { reference, loader }: MergedBaseParts,
    record: AdapterRecord,
    generation: string,
    { tokenizer, report }: Pick<HostAdapter, 'tokenizer' | 'report'>,
  ) {
    this.#asked = reference;
    this.#record = record;
    this.#loader = loader;
    this.generation = generation;
    this.#tokenizer = tokenizer;
    this.#report = report;
  }

  /** Rejects with VALIDATION for every other adapter: it would be added to a base that it was not trained on. */
  async acquire(choice: AdapterChoice): Promise<AdapterLease> {
    this.#check(choice);
    const tokenizer = this.#tokenizer?.tokenizer;
    const brought = {
      generation: this.generation,
      slots: [],
      batchTypes: ['lora'],
      heads: undefined,
      tokenizer,
    } as const;
    return makeLease(brought, [this.#record], Date.now(), () => undefined);
  }

  /** No other can be named. */
  found(): void {}

  get status(): AdapterStatus {
    const { id, source, revision, diskBytes, lastUsedAtMs, runningCount } = this.#record;
    return {
      ...{ id, names: [], source, revision, generation: this.generation, lastUsedAtMs, runningCount },
      ...{ state: 'resident', isPinned: true, failure: undefined, report: this.#report },
      bytes: { disk: diskBytes, host: 0, device: 0 },
      ...(this.#report ? partsOf(this.#report) : { ranks: [], targets: [] }),
    };
  }

  statuses(): AdapterStatus[] {
    return [this.status];
  }

  find(id: string, source?: AdapterSource): AdapterStatus | undefined {
    return this.#isIt({ id, source: source ?? this.#record.source }) ? this.status : undefined;
  }

  /** It stays in any case. */
  keep(reference: AdapterReference): Promise<AdapterLease> {
    return this.acquire(reference);
  }

  async load({ reference, name }: Pick<LoadOptions, 'reference' | 'name'>): Promise<AdapterStatus> {
    this.#check(reference);
    if (name !== undefined) throw this.#refusal('name', 'cannot be given');
    return this.status;
  }

  async unload(id: string, source: AdapterSource | undefined): Promise<never> {
    if (this.find(id, source)) throw this.#refusal('adapter_id', 'cannot be unloaded');
    throw new LoraxError('ADAPTER_NOT_FOUND', { adapterId: id, source: source ?? 'any' });
  }

  resolveName(): undefined {
    return undefined;
  }

  /** The adapter's tokenizer; the merged weights are the model's. */
  async dispose(): Promise<void> {
    this.#tokenizer?.release();
    await this.#loader.settle();
  }

  #check(choice: AdapterChoice): void {
    if ('members' in choice) throw this.#refusal('merged_adapters', 'cannot be used');
    if (!this.#isIt(choice))
      throw this.#refusal('adapter_id', `names \`${choice.id}\` from source \`${choice.source}\``);
  }

  /** As the operator wrote it, or as its source does. */
  #isIt({ id, source }: Pick<AdapterReference, 'id' | 'source'>): boolean {
    return source === this.#record.source && (id === this.#asked.id || id === this.#record.id);
  }

  #refusal(field: string, what: string): LoraxError {
    return invalidField(field, `${what}; --merge-adapter-weights serves no adapter but \`${this.#record.id}\``);
  }
}

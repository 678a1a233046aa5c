/** Adapters that are nowhere but in this table: what the routes ask of them is kept, and each load waits for its hook. */

import type { AdapterStatus } from '../../adapters/store/adapter-status.ts';
import type { AdapterReference, AdapterSource } from '../../base/adapter-reference.ts';
import { invalidField, LoraxError } from '../../base/errors.ts';
import { untilAborted } from '../../base/until-aborted.ts';
import type { AdapterAdmin, AdapterLoad } from '../serving.ts';

const NO_BYTES = { disk: 0, host: 0, device: 0 };

export class FakeAdapters implements AdapterAdmin {
  readonly loads: { readonly load: AdapterLoad; readonly signal: AbortSignal }[] = [];
  readonly unloads: (readonly [idOrName: string, source: AdapterSource | undefined])[] = [];
  /** Before the adapter is resident, or instead. */
  onLoad: (load: AdapterLoad) => unknown = () => undefined;
  readonly #statuses = new Map<string, AdapterStatus>();
  readonly #names = new Map<string, AdapterReference>();

  put(status: Partial<AdapterStatus> & Pick<AdapterStatus, 'id' | 'source'>): AdapterStatus {
    const { id, source } = status;
    for (const name of status.names ?? []) this.#names.set(name, { id, source });
    const whole: AdapterStatus = {
      names: [],
      revision: undefined,
      generation: undefined,
      state: 'known',
      isPinned: false,
      bytes: NO_BYTES,
      ranks: [],
      targets: [],
      lastUsedAtMs: undefined,
      runningCount: 0,
      failure: undefined,
      report: undefined,
      ...status,
    };
    this.#statuses.set(`${source} ${id}`, whole);
    return whole;
  }

  statuses(): AdapterStatus[] {
    return [...this.#statuses.values()].map((status) => ({ ...status, names: this.#namesOf(status) }));
  }

  find(idOrName: string, source?: AdapterSource): AdapterStatus | undefined {
    const named = source === undefined ? this.#names.get(idOrName) : undefined;
    const { id, source: from } = named ?? { id: idOrName, source };
    return this.statuses().find((status) => status.id === id && (from === undefined || status.source === from));
  }

  async load(load: AdapterLoad, signal: AbortSignal): Promise<AdapterStatus> {
    this.loads.push({ load, signal });
    await untilAborted(Promise.resolve(this.onLoad(load)), signal);
    const { reference, name, pin, moveName } = load;
    const { id, source } = reference;
    const holder = name === undefined || moveName ? undefined : this.#names.get(name);
    if (holder && (holder.id !== id || holder.source !== source)) throw invalidField('name', 'is already taken');
    if (name !== undefined) this.#names.set(name, { id, source });
    return this.put({ id, source, generation: 'fedcba98', state: 'resident', isPinned: pin, names: name ? [name] : [] });
  }

  async unload(idOrName: string, source: AdapterSource | undefined) {
    this.unloads.push([idOrName, source]);
    const status = this.find(idOrName, source);
    if (status === undefined) throw new LoraxError('ADAPTER_NOT_FOUND', { adapterId: idOrName, source: source ?? 'hub' });
    if (source === undefined && status.names.length > 1) this.#names.delete(idOrName);
    else this.#forget(status);
    return { freed: status.bytes };
  }

  resolveName(name: string): AdapterReference | undefined {
    return this.#names.get(name);
  }

  #forget(status: AdapterStatus): void {
    this.#statuses.delete(`${status.source} ${status.id}`);
    for (const name of this.#namesOf(status)) this.#names.delete(name);
  }

  #namesOf({ id, source }: AdapterStatus): string[] {
    const own = [...this.#names].filter(([, reference]) => reference.id === id && reference.source === source);
    return own.map(([name]) => name);
  }
}

/**
 * From an adapter's folder to memory, and from there to the device: recognise, check the base, map, copy, place.
 * Knows no cache and no request.
 */

import { assert, present } from '../base/assert.ts';
import type { AdapterSlot, AdapterTensors } from '../backend/adapters.ts';
import type { Backend } from '../backend/backend.ts';
import { makeMedusaModel, type MedusaModel, type MedusaShape } from '../layers/medusa/medusa-model.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { ownAdapter } from './adapter-copy.ts';
import { adapterSites, type AdapterPlaces } from './adapter-tensors.ts';
import type { AdapterTarget, BatchType, MappedAdapter } from './adapter-config.ts';
import { SharedTokenizer } from './store/shared-tokenizer.ts';
import { checkBase, type ResolveBase } from './base-check.ts';
import type { LoadReport } from './load-report.ts';
import { recogniseAdapter } from './recognise.ts';

/** The served model as adapters see it. */
export interface AdapterBase {
  readonly id: string;
  readonly architecture: string;
  readonly layerCount: number;
  readonly places: AdapterPlaces;
  /** Finds the config of the base that an adapter names, to compare architectures. */
  readonly resolveBase: ResolveBase;
}

/** What a look at an adapter's files tells, before any of its values are read. */
export interface Inspection {
  /** An upper estimate of its bytes on the device. */
  readonly deviceBytes: number;
  readonly report: LoadReport;
}

/** An adapter in this process's memory, independent of its files. */
export interface HostAdapter {
  readonly tensors: AdapterTensors;
  readonly batchTypes: readonly BatchType[];
  /** Its draft heads, whose weights are among the tensors' own. */
  readonly heads: MedusaShape | undefined;
  /** Undefined for a merge. */
  readonly report: LoadReport | undefined;
  /** The adapter's own, held once for whoever read it. */
  readonly tokenizer: SharedTokenizer | undefined;
  readonly byteLength: number;
}

export interface PlacedAdapter {
  readonly slot: AdapterSlot;
  /** Its draft heads, which live as long as the slot. */
  readonly heads: MedusaModel | undefined;
}

export interface LoadedAdapter extends PlacedAdapter {
  readonly report: LoadReport;
}

/** An adapter's own tokenizer, or undefined where it has none. */
export type OpenTokenizer = (folder: string, adapterId: string, signal: AbortSignal) => Promise<Tokenizer | undefined>;

export class AdapterLoader {
  readonly #backend: Backend;
  readonly #base: AdapterBase;
  readonly #target: AdapterTarget;
  readonly #openTokenizer: OpenTokenizer;
  /** Tokenizers that are ending. */
  readonly #closing = new Set<Promise<void>>();

  constructor(backend: Backend, base: AdapterBase, openTokenizer: OpenTokenizer = async () => undefined) {
    this.#backend = backend;
    this.#base = base;
    this.#openTokenizer = openTokenizer;
    const sites = adapterSites(base.places);
    const modules = moduleNames(sites.map((site) => site.path));
    const { architecture, layerCount } = base;
    const output = present(base.places.get('lm_head'), 'an output layer');
    assert(output.kind === 'linear', 'the output layer is a projection');
    const { inFeatures: hiddenSize, outFeatures: vocabSize } = output;
    const hasModule = (path: string): boolean => modules.has(path);
    this.#target = { architecture, layerCount, sites, hasModule, places: base.places, hiddenSize, vocabSize };
  }

  /** Rejects, as `read` does, with a 422 that carries the load report where the adapter does not fit the model. */
  inspect(folder: string, adapterId: string, signal: AbortSignal): Promise<Inspection> {
    return this.#withMapped(folder, adapterId, signal, async ({ tensors, report }) => ({
      deviceBytes: this.deviceBytes(tensors),
      report,
    }));
  }

  async read(folder: string, adapterId: string, signal: AbortSignal): Promise<HostAdapter> {
    const host = await this.#withMapped(folder, adapterId, signal, async ({ tensors, ...rest }) => ({
      ...rest,
      ...(await ownAdapter(tensors, signal)),
    }));
    const own = await this.#openTokenizer(folder, adapterId, signal);
    return { ...host, tokenizer: own && this.#share(own) };
  }

  deviceBytes(tensors: AdapterTensors): number {
    return this.#backend.adapterBytes(tensors);
  }

  async place({ tensors, heads }: Pick<HostAdapter, 'tensors' | 'heads'>): Promise<PlacedAdapter> {
    const slot = await this.#backend.loadAdapter(tensors);
    return { slot, heads: heads && makeMedusaModel(heads, slot.weights) };
  }

  /** Straight from its folder to the device, for one who keeps no adapters. */
  load(folder: string, adapterId: string, signal: AbortSignal): Promise<LoadedAdapter> {
    return this.#withMapped(folder, adapterId, signal, async ({ tensors, heads, report }) => ({
      ...(await this.place({ tensors, heads })),
      report,
    }));
  }

  unload({ slot }: Pick<LoadedAdapter, 'slot'>): void {
    this.#backend.unloadAdapter(slot);
  }

  /** Settles when every tokenizer that nobody holds any more has ended. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#closing);
  }

  /** The tensors are valid until `use` settles. */
  async #withMapped<T>(
    folder: string,
    adapterId: string,
    signal: AbortSignal,
    use: (mapped: MappedAdapter) => Promise<T>,
  ): Promise<T> {
    const config = await recogniseAdapter(folder, adapterId);
    const { id, architecture, resolveBase: resolve } = this.#base;
    const baseModel = await checkBase({ adapterId, base: config.base, served: { id, architecture }, resolve, signal });
    const file = config.openTensors(folder);
    try {
      return await use(config.mapAdapter(file, this.#target, baseModel));
    } finally {
      file.dispose();
    }
  }

  #share(tokenizer: Tokenizer): SharedTokenizer {
    return new SharedTokenizer(tokenizer, (closing) => {
      const ended = closing.finally(() => this.#closing.delete(ended));
      this.#closing.add(ended);
    });
  }
}

/** The sites' paths and those of the modules around them: `model.layers.0.mlp` for `model.layers.0.mlp.up_proj`. */
function moduleNames(paths: readonly string[]): Set<string> {
  const names = new Set<string>();
  for (const path of paths) {
    const parts = path.split('.');
    for (let length = 1; length <= parts.length; length++) names.add(parts.slice(0, length).join('.'));
  }
  return names;
}

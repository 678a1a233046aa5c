/** From an adapter's folder to a resident adapter: recognise, check the base, map, load. Knows no cache and no request. */

import type { AdapterSlot } from '../backend/adapters.ts';
import type { Backend } from '../backend/backend.ts';
import { openAdapterTensors } from '../weights/tensor-folder.ts';
import { adapterSites, adapterTensors, type AdapterPlaces } from './adapter-tensors.ts';
import { checkBase, type ResolveBase } from './base-check.ts';
import type { LoadReport } from './load-report.ts';
import { LoraConfig } from './lora-config.ts';
import type { AdaptableModel } from './lora-weights.ts';
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

export interface LoadedAdapter {
  readonly slot: AdapterSlot;
  readonly report: LoadReport;
}

export class AdapterLoader {
  readonly #backend: Backend;
  readonly #base: AdapterBase;
  readonly #model: AdaptableModel;

  constructor(backend: Backend, base: AdapterBase) {
    this.#backend = backend;
    this.#base = base;
    const sites = adapterSites(base.places);
    const modules = moduleNames(sites.map((site) => site.path));
    const { architecture, layerCount } = base;
    this.#model = { architecture, layerCount, sites, hasModule: (path) => modules.has(path) };
  }

  /** Rejects with a 422 that carries the load report where the adapter does not fit. */
  async load(folder: string, adapterId: string, signal: AbortSignal): Promise<LoadedAdapter> {
    const { configBytes } = await recogniseAdapter(folder, adapterId);
    const config = LoraConfig.parse(configBytes, adapterId);
    const { id, architecture, places, resolveBase } = this.#base;
    const base = config.settings.base;
    const baseModel = await checkBase({ adapterId, base, served: { id, architecture }, resolve: resolveBase, signal });
    const file = openAdapterTensors(folder);
    try {
      const weights = config.mapWeightsForModel(file, this.#model, { baseModel });
      const slot = await this.#backend.loadAdapter(adapterTensors(weights, places));
      return { slot, report: weights.report };
    } finally {
      file.dispose();
    }
  }

  unload({ slot }: LoadedAdapter): void {
    this.#backend.unloadAdapter(slot);
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

/**
 * A tiny model made resident on the real backend, for one test file: its parts, adapters for it, and one call that ends
 * it all. Knows no requests.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AdapterLoader, type LoadedAdapter, type OpenTokenizer } from '../adapters/adapter-loader.ts';
import type { Backend } from '../backend/backend.ts';
import type { KvDtype } from '../backend/kv.ts';
import { oneSlot, type StepSegment } from '../backend/step.ts';
import type { MatmulPrecision } from '../backend/precision.ts';
import { BaseModel, type BaseModelOptions } from '../engine/base-model.ts';
import { KvCache } from '../engine/kv-cache.ts';
import { findDevice, findShards, openBackend, type ChosenDevice } from '../serving/backend.ts';
import { kvShape, kvTypes } from '../serving/limits.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import { makeTinyAdapter, writeTinyAdapter, type TinyAdapter, type TinyAdapterOptions } from './tiny-adapter.ts';
import { makeTinyModel, writeTinyModel, type TinyModel } from './tiny-model.ts';

/** Kept from run to run, as a server's are. */
const KERNEL_CACHE = join(tmpdir(), 'lorax-test-kernels');

let device: ChosenDevice = findDevice('cpu');

/** All settings opened from now on compute on cards, in so many shards. */
export function useCuda(shardCount: number): void {
  device = findShards(shardCount);
}

export interface SettingOptions {
  readonly model?: TinyModel;
  /** How the file holds the weights; as `dtype` unless told. */
  readonly stored?: Dtype;
  /** How the backend holds them; undefined keeps what is stored. */
  readonly dtype?: Dtype | undefined;
  readonly precision?: MatmulPrecision;
  /** Of keys and values alike; as the server pairs them with the model's type unless told. */
  readonly kvDtype?: KvDtype;
  readonly cellCount?: number;
  /** An adapter that is part of the base. */
  readonly merged?: BaseModelOptions['merged'];
  /** Instead of the backend of the device in use. */
  readonly open?: () => Promise<Backend>;
  /** Stands between the engine and the device. */
  readonly wrap?: (backend: Backend) => Backend;
}

export interface AdapterInPlace extends LoadedAdapter, TinyAdapter {}

export class Setting {
  readonly root: string;
  readonly tiny: TinyModel;
  readonly backend: Backend;
  readonly model: BaseModel;
  readonly kv: KvCache;
  readonly loader: AdapterLoader;
  readonly #loaded = new Set<LoadedAdapter>();
  #adapterCount = 0;

  private constructor(root: string, tiny: TinyModel, backend: Backend, model: BaseModel, kv: KvCache) {
    this.root = root;
    this.tiny = tiny;
    this.backend = backend;
    this.model = model;
    this.kv = kv;
    this.loader = this.loaderWith(async () => undefined);
  }

  /** One that reads adapters' tokenizers too. */
  loaderWith(openTokenizer: OpenTokenizer): AdapterLoader {
    const { description, places } = this.model;
    const { architecture, decoder } = description;
    const { layerCount } = decoder;
    const resolveBase = async (): Promise<undefined> => undefined;
    return new AdapterLoader(
      this.backend,
      { id: 'tiny', architecture, layerCount, places, resolveBase },
      openTokenizer,
    );
  }

  static async open(options: SettingOptions = {}): Promise<Setting> {
    const { model: tiny = makeTinyModel(), precision = 'high', cellCount = 512, wrap } = options;
    const { stored = options.dtype ?? 'float32', dtype, merged } = options;
    const root = mkdtempSync(join(tmpdir(), 'lorax-engine-'));
    const folder = join(root, 'model');
    writeTinyModel(folder, tiny, stored);
    const { signal } = new AbortController();
    const backendOptions = { threads: 1, precision, ggmlPath: undefined, kernelCacheFolder: KERNEL_CACHE, signal };
    let backend: Backend | undefined;
    let model: BaseModel | undefined;
    try {
      const bare = await (options.open ? options.open() : openBackend(deviceFor(tiny), backendOptions));
      backend = wrap ? wrap(bare) : bare;
      model = await BaseModel.load(backend, {
        ...{ modelId: 'tiny', folder, dtype, merged },
        onProgress: () => undefined,
      });
      const { kvDtype } = options;
      const types = kvDtype ? { key: kvDtype, value: kvDtype } : kvTypes(model.dtype, precision);
      const kv = new KvCache(backend.createKvStore(kvShape(model.description.decoder, types, cellCount)));
      return new Setting(root, tiny, backend, model, kv);
    } catch (error) {
      backend?.dispose();
      model?.dispose();
      rmSync(root, { recursive: true, force: true });
      throw error;
    }
  }

  /** Writes a random adapter to a folder of its own below `root/adapters`. */
  writeAdapter(options: TinyAdapterOptions, seed = 7): TinyAdapter & { readonly id: string; readonly folder: string } {
    const adapter = makeTinyAdapter(this.tiny, options, seed);
    const id = `adapter-${this.#adapterCount++}`;
    const folder = join(this.root, 'adapters', id);
    writeTinyAdapter(folder, adapter, options.stored);
    return { ...adapter, id, folder };
  }

  async loadAdapter(options: TinyAdapterOptions, seed = 7): Promise<AdapterInPlace> {
    const { id, folder, ...adapter } = this.writeAdapter(options, seed);
    const loaded = { ...adapter, ...(await this.loader.load(folder, id, new AbortController().signal)) };
    this.#loaded.add(loaded);
    return loaded;
  }

  unload(adapter: LoadedAdapter): void {
    this.#loaded.delete(adapter);
    this.loader.unload(adapter);
  }

  /** One step; a copy of the logits of each segment's output rows. */
  async step(segments: readonly StepSegment[]): Promise<Float32Array[][]> {
    const output = await this.backend.runStep(this.model.decoder, this.kv.store, segments, {
      reduce: false,
      keepHidden: false,
    });
    return segments.map(({ outputCount }, segment) =>
      Array.from({ length: outputCount }, (_, row) => output.logits(segment, row).slice()),
    );
  }

  /** Logits of every position of one sequence, computed alone and at once. */
  async logitsOf(tokens: readonly number[], adapter?: LoadedAdapter, firstCell = 0): Promise<Float32Array[]> {
    const [rows] = await this.step([
      { tokens, position: 0, firstCell, adapters: oneSlot(adapter?.slot), outputCount: tokens.length },
    ]);
    return rows!;
  }

  dispose(): void {
    for (const adapter of this.#loaded) this.loader.unload(adapter);
    this.kv.dispose();
    this.backend.dispose();
    this.model.dispose();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A model with heads that the shards cannot share is computed by one. */
function deviceFor({ config }: TinyModel): ChosenDevice {
  const { cards, because } = device;
  return config.num_key_value_heads % cards.length === 0 || cards.length === 0
    ? device
    : { cards: cards.slice(0, 1), because };
}

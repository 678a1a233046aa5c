/** How the engine comes by its adapters: from a store beside the base, or as one that is merged into it. */

import { AdapterLoader, type OpenTokenizer } from '../adapters/adapter-loader.ts';
import type { AdapterObserver } from '../adapters/store/adapter-placement.ts';
import { AdapterStore } from '../adapters/store/adapter-store.ts';
import { readBaseMerge, type BaseMerge } from '../adapters/merged-base.ts';
import type { AdapterReference } from '../base/adapter-reference.ts';
import { present } from '../base/assert.ts';
import type { Backend } from '../backend/backend.ts';
import type { ServeOptions } from '../config/options.ts';
import { sketchModel, type ModelSketch } from '../engine/model-sketch.ts';
import { AccessCheck } from '../sources/access.ts';
import { findBaseConfig } from '../sources/base-config.ts';
import type { DiskCache } from '../sources/disk-cache.ts';
import type { Sources } from '../sources/source.ts';
import { openAdapterTokenizer, type ServedText } from '../text/adapter-tokenizer.ts';

const MS_PER_SECOND = 1000;

export interface AdapterParts {
  readonly options: ServeOptions;
  readonly modelId: string;
  /** The model's folder on this machine. */
  readonly folder: string;
  readonly sources: Sources;
  /** Of the adapters that this server downloaded. */
  readonly disk: Pick<DiskCache, 'remove'>;
}

/** The adapter of `--adapter-id`, which the operator's own credentials open. */
export function defaultAdapter(options: ServeOptions): AdapterReference | undefined {
  const { adapterId: id, adapterSource: source } = options;
  return id === undefined ? undefined : withOperatorsToken({ id, source }, options);
}

export function openAdapterStore(
  backend: Backend,
  model: ModelSketch,
  parts: AdapterParts,
  freeBytes: number,
  text: ServedText,
  observer: AdapterObserver,
): AdapterStore {
  const { options } = parts;
  const openTokenizer: OpenTokenizer = (folder, id, signal) => openAdapterTokenizer(folder, id, text, signal);
  return new AdapterStore({
    access: openAccess(parts),
    loader: openLoader(backend, model, parts, openTokenizer),
    baseIdentity: baseIdentity(model),
    maxResident: options.maxActiveAdapters,
    deviceBudgetBytes: Math.floor(freeBytes * options.adapterMemoryFraction),
    hostCacheBytes: options.adapterHostCacheBytes,
    removeFiles: ({ id, source }) => parts.disk.remove(source, id),
    observer,
  });
}

/** Reads the adapter against a model that is not loaded yet, because its weights are loaded with what this finds. */
export async function readMerge(backend: Backend, parts: AdapterParts, signal: AbortSignal): Promise<BaseMerge> {
  const { options, modelId, folder } = parts;
  const model = await sketchModel(modelId, folder, options.dtype);
  const loader = openLoader(backend, model, parts);
  const reference = present(defaultAdapter(options), '--adapter-id');
  return readBaseMerge({ reference, access: openAccess(parts), loader, baseIdentity: baseIdentity(model) }, signal);
}

/** What the operator names is fetched as the base is. The other sources know the operator's keys by themselves. */
export function withOperatorsToken(reference: AdapterReference, { hubToken }: ServeOptions): AdapterReference {
  return reference.source === 'hub' && hubToken !== undefined ? { ...reference, apiToken: hubToken } : reference;
}

function openLoader(
  backend: Backend,
  { id, description, places }: ModelSketch,
  { options, folder }: AdapterParts,
  openTokenizer?: OpenTokenizer,
): AdapterLoader {
  const { architecture, decoder } = description;
  const where = { servedFolder: folder, cacheDir: options.huggingfaceHubCache };
  const { layerCount } = decoder;
  const resolveBase = (name: string) => findBaseConfig(name, where);
  return new AdapterLoader(backend, { id, architecture, layerCount, places, resolveBase }, openTokenizer);
}

function openAccess({ options, sources }: AdapterParts): AccessCheck {
  return new AccessCheck(sources, { cacheMs: options.authCacheS * MS_PER_SECOND, onError: options.authOnError });
}

/** The same adapter over another base, or one that is held otherwise, is another generation. */
function baseIdentity({ id, dtype }: ModelSketch): string {
  return `${id} ${dtype}`;
}

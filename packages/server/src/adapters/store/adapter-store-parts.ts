/** What an adapter store is made of, and which part knows which. Does none of the work. */

import type { AdapterLoader } from '../adapter-loader.ts';
import { AdapterCatalog } from './adapter-catalog.ts';
import { AdapterFailures } from './adapter-failures.ts';
import { Generations } from './adapter-generations.ts';
import { AdapterLeasing } from './adapter-leasing.ts';
import { AdapterListing } from './adapter-listing.ts';
import { AdapterMerges } from './adapter-merges.ts';
import { AdapterNames } from './adapter-names.ts';
import { AdapterPins } from './adapter-pins.ts';
import { AdapterPlacement, type AdapterObserver } from './adapter-placement.ts';
import { AdapterPreparation, type CheckAccess } from './adapter-preparation.ts';
import { AdapterUnloading, type RemoveFiles } from './adapter-unloading.ts';
import { HostCache } from './host-cache.ts';
import { Residency } from './residency.ts';

export interface AdapterStoreOptions {
  readonly access: CheckAccess;
  readonly loader: AdapterLoader;
  /** Part of every generation: the same adapter over another base is another one. */
  readonly baseIdentity: string;
  readonly maxResident: number;
  readonly deviceBudgetBytes: number;
  /** 0 keeps none that is not resident. */
  readonly hostCacheBytes: number;
  readonly observer: AdapterObserver;
  /** Nothing is removed unless told. */
  readonly removeFiles?: RemoveFiles;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

/** Those that the store itself turns to. */
export interface StoreParts {
  readonly loader: AdapterLoader;
  readonly hostCache: HostCache;
  readonly residency: Residency;
  readonly catalog: AdapterCatalog;
  readonly names: AdapterNames;
  readonly pins: AdapterPins;
  readonly leasing: AdapterLeasing;
  readonly unloading: AdapterUnloading;
  readonly listing: AdapterListing;
}

export function assembleStore(options: AdapterStoreOptions): StoreParts {
  const { access, loader, observer, removeFiles = async () => 0, now = Date.now } = options;
  const { deviceBudgetBytes: budgetBytes, maxResident: maxCount } = options;
  const names = new AdapterNames();
  const failures = new AdapterFailures(now);
  const hostCache = new HostCache(options.hostCacheBytes);
  const placement = new AdapterPlacement({ loader, hostCache, failures, observer, now });
  const residency = new Residency({ budgetBytes, maxCount, now, onEvict: (adapter) => placement.remove(adapter) });
  const pins = new AdapterPins(residency);
  const isResident = (generation: string): boolean => residency.has(generation);
  const catalog = new AdapterCatalog((of) => isResident(of) || hostCache.peek(of) !== undefined);
  const generations = new Generations(options.baseIdentity, budgetBytes);
  const preparation = new AdapterPreparation({
    ...{ access, loader, generations, catalog, failures, hostCache, isResident, now },
  });
  const merges = new AdapterMerges({ loader, hostCache, failures, budgetBytes });
  const leasing = new AdapterLeasing({ preparation, merges, residency, placement, catalog, pins, now });
  const unloading = new AdapterUnloading({ catalog, names, pins, residency, hostCache, removeFiles });
  const listing = new AdapterListing({ catalog, names, preparation, hostCache, residency });
  return { loader, hostCache, residency, catalog, names, pins, leasing, unloading, listing };
}

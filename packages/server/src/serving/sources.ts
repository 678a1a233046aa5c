/** The sources of this server, all over one disk cache. Knows no engine. */

import type { ServeOptions } from '../config/options.ts';
import { DiskCache } from '../sources/disk-cache.ts';
import { type Hub, openHub } from '../sources/hub.ts';
import { openPbase } from '../sources/pbase.ts';
import { openSources } from '../sources/registry.ts';
import { openS3 } from '../sources/s3.ts';
import type { Sources } from '../sources/source.ts';
import type { Logger } from '../telemetry/log.ts';

export interface ServedSources {
  readonly sources: Sources;
  readonly hub: Hub;
  /** Of the adapters that this server downloaded. */
  readonly disk: DiskCache;
}

/** Throws OPTION_INVALID where an option or a variable of the environment cannot be used. */
export async function openServedSources(
  options: ServeOptions,
  adapterRoot: string | undefined,
  log: Logger,
): Promise<ServedSources> {
  const { huggingfaceHubCache: cacheDir, adapterDiskCacheBytes: budgetBytes } = options;
  const disk = await DiskCache.open({ cacheDir, budgetBytes, log });
  const hub = openModelHub(options, { disk, log });
  const s3 = openS3({ ...options.s3, cacheDir, disk, log });
  const pbase = openPbase({ ...options.pbase, token: options.predibaseApiToken, s3 });
  return { sources: openSources({ adapterRoot, hub, s3, pbase }), hub, disk };
}

/** The Hub alone, for one who only needs the base model. */
export function openModelHub(
  options: ServeOptions,
  shared: { readonly disk?: DiskCache; readonly log?: Logger } = {},
): Hub {
  return openHub({
    endpoint: options.hubEndpoint,
    cacheDir: options.huggingfaceHubCache,
    offline: options.hubOffline,
    token: options.hubToken,
    sharesToken: options.hubTokenShared,
    ...shared,
  });
}

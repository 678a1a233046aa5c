/**
 * Finds the config of the base model that an adapter names, without asking anybody: beside the served model, or in the
 * Hub's cache. Knows nothing about what the config is compared with.
 */

import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HubCache } from './hub-cache.ts';
import { parseHubId } from './hub-id.ts';

/** A folder name; whatever else an adapter may write must not become a path. */
const PLAIN_NAME = /^[\w-][\w.-]*$/;

export interface BaseConfigPlaces {
  /** Folder of the served model: the folders beside it are models of the same operator. */
  readonly servedFolder: string;
  readonly cacheDir: string;
}

/** Undefined where nothing is known of a model of this name. */
export async function findBaseConfig(
  name: string,
  { servedFolder, cacheDir }: BaseConfigPlaces,
): Promise<{ architectures?: string[] } | undefined> {
  const neighbour = basename(name);
  const folders = PLAIN_NAME.test(neighbour) ? [join(dirname(servedFolder), neighbour)] : [];
  const cached = await cachedFolder(name, cacheDir);
  if (cached !== undefined) folders.unshift(cached);
  for (const folder of folders) {
    const config = await readConfig(folder);
    if (config !== undefined) return config;
  }
  return undefined;
}

async function cachedFolder(name: string, cacheDir: string): Promise<string | undefined> {
  const id = parseHubId(name);
  if (id === undefined) return undefined;
  const cache = new HubCache(cacheDir, 'read');
  const commit = await cache.commitOf(id);
  return commit === undefined ? undefined : cache.snapshot(id.repo, commit).catch(() => undefined);
}

async function readConfig(folder: string): Promise<{ architectures?: string[] } | undefined> {
  try {
    const { architectures } = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as {
      architectures?: unknown;
    };
    return Array.isArray(architectures) ? { architectures: architectures.map(String) } : {};
  } catch {
    return undefined;
  }
}

/** A folder of things that are slow to make: each is made once, whole or not at all. Knows nothing about what they are. */

import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder `name` inside `cache`; `make` fills it where it is not there. */
export function cachedFolder(cache: string, name: string, make: (folder: string) => void): string {
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  // Filled under another name, so that an interrupted run leaves nothing that looks finished.
  const unfinished = `${folder}.unfinished-${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  try {
    make(unfinished);
    mkdirSync(dirname(folder), { recursive: true });
    renameSync(unfinished, folder);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
  return folder;
}

/**
 * Adapters in folders under one root. An id is a path relative to the root, or an absolute one inside it; nothing outside
 * is ever looked at, so no answer depends on what is there.
 */

import { statSync } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { LoraxError } from '../base/errors.ts';
import { checkAdapterFolder, checkMedusaConfig } from './adapter-folder.ts';
import { adapterIdFault, checkAdapterId } from './adapter-id.ts';
import { errorCode, locate, partsInside } from './containment.ts';
import { adapterFault, isReadable } from './repo-files.ts';
import type { AdapterLocation, LocateOptions, ResolvedFolder, Source } from './source.ts';

/** Folders whose adapters are listed: `name` and `group/name`. */
const LIST_DEPTH = 2;
const MAX_LISTED = 1000;
/** Folders looked into for one list; keeps a wrong root (a home folder) from stalling the server. */
const MAX_VISITED = 10_000;
/** Each is looked at whenever a request names its adapter. */
const MAX_FILES = 1000;

/** Throws OPTION_INVALID when the root is not a folder. */
export function openLocal(root: string): Source {
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new LoraxError('OPTION_INVALID', { option: '--adapter-root', reason: `\`${root}\` is not a folder` });
  }
  return new LocalSource(resolve(root));
}

class LocalSource implements Source {
  readonly name = 'local';
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async locate(id: string, { signal }: LocateOptions): Promise<AdapterLocation> {
    signal.throwIfAborted();
    checkAdapterId(id);
    const root = await realpath(this.#root);
    const parts = partsInside([this.#root, root], resolve(this.#root, id));
    if (parts === undefined || id.split('/').includes('..')) throw forbidden(id);
    const adapterId = parts.join('/') || '.';
    const folder = await this.#folder(adapterId);
    signal.throwIfAborted();
    try {
      await checkFiles(root, folder, adapterId);
      await checkAdapterFolder(folder, adapterId);
    } catch (error) {
      throw asAdapterError(error, adapterId);
    }
    signal.throwIfAborted();
    const fetch = async (): Promise<ResolvedFolder> => ({ folder, root, byteLength: 0, release: () => undefined });
    return { source: 'local', id: adapterId, revision: undefined, fetch };
  }

  async list(signal: AbortSignal): Promise<readonly string[]> {
    const found: string[] = [];
    let visitedCount = 0;
    const visit = async (parent: string, depth: number): Promise<void> => {
      for (const name of await this.#folderNames(parent)) {
        signal.throwIfAborted();
        if (found.length >= MAX_LISTED || ++visitedCount > MAX_VISITED) return;
        const id = parent === '' ? name : `${parent}/${name}`;
        if (await this.#holdsAdapter(id)) found.push(id);
        else if (depth < LIST_DEPTH) await visit(id, depth + 1);
      }
    };
    await visit('', 1);
    return found;
  }

  async #folder(id: string): Promise<string> {
    const place = await locate(this.#root, id);
    if (place.kind === 'outside') throw forbidden(id);
    if (place.kind === 'missing' || !(await isKind(place.path, 'folder'))) {
      throw new LoraxError('ADAPTER_NOT_FOUND', { adapterId: id, source: 'local' });
    }
    return place.path;
  }

  /** Names in a folder that may be folders or lead to one; none where there is no folder or it leads out. */
  async #folderNames(id: string): Promise<readonly string[]> {
    const place = await locate(this.#root, id);
    if (place.kind !== 'inside') return [];
    const entries = await ifListable(readdir(place.path, { withFileTypes: true }));
    const folders = entries.filter((entry) => entry.isDirectory() || entry.isSymbolicLink());
    return folders.map((entry) => entry.name).toSorted();
  }

  /** By names, and by what tells draft heads from a whole model; the rest is seen when somebody asks for it. */
  async #holdsAdapter(id: string): Promise<boolean> {
    if (adapterIdFault(id) !== undefined) return false;
    const folder = await locate(this.#root, id);
    if (folder.kind !== 'inside') return false;
    const names = await ifListable(readdir(folder.path));
    if (adapterFault(names) !== undefined) return false;
    const isLora = names.includes('adapter_config.json');
    const config = await locate(this.#root, `${id}/${isLora ? 'adapter_config.json' : 'config.json'}`);
    if (config.kind !== 'inside') return false;
    return isLora || (await isMedusa(config.path, id));
  }
}

/** Every file that a loader may read must be a regular one inside the root: a pipe would stall the server, a device worse. */
async function checkFiles(root: string, folder: string, adapterId: string): Promise<void> {
  const names = (await readdir(folder)).filter(isReadable);
  if (names.length > MAX_FILES) {
    throw new LoraxError('ADAPTER_INVALID', { adapterId, reason: `it has more than ${MAX_FILES} files` });
  }
  for (const name of names) {
    const place = await locate(root, join(folder, name));
    if (place.kind === 'outside') throw forbidden(adapterId);
    if (place.kind === 'missing' || !(await isKind(place.path, 'file'))) {
      throw new LoraxError('ADAPTER_INVALID', { adapterId, reason: `\`${name}\` is not a file` });
    }
  }
}

/** A folder that vanished, was never one or may not be read offers nothing. */
async function ifListable<T>(entries: Promise<T[]>): Promise<T[]> {
  try {
    return await entries;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errorCode(error))) return [];
    throw error;
  }
}

async function isKind(path: string, kind: 'file' | 'folder'): Promise<boolean> {
  try {
    const found = await stat(path);
    return kind === 'file' ? found.isFile() : found.isDirectory();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** The folder may be taken away or closed while it is being looked at: that is an answer, not a fault of the server. */
function asAdapterError(error: unknown, adapterId: string): unknown {
  if (errorCode(error) === 'EACCES') return forbidden(adapterId);
  if (errorCode(error) === 'ENOENT') return new LoraxError('ADAPTER_NOT_FOUND', { adapterId, source: 'local' });
  return error;
}

function forbidden(adapterId: string): LoraxError {
  return new LoraxError('ADAPTER_FORBIDDEN', { adapterId });
}

async function isMedusa(configPath: string, adapterId: string): Promise<boolean> {
  try {
    await checkMedusaConfig(configPath, adapterId);
    return true;
  } catch {
    return false;
  }
}

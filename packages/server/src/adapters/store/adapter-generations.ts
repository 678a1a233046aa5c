/**
 * Which content a place holds: a generation is a hash of the files and of the base model. Remembers it by revision and by
 * the files' fingerprint, so that an unchanged adapter is hashed once. Knows nothing about what is loaded.
 */

import { LRUCache } from 'lru-cache';
import { LoraxError } from '../../base/errors.ts';
import { SharedJobs } from '../../sources/shared-jobs.ts';
import type { AdapterLocation, ResolvedFolder } from '../../sources/source.ts';
import { adapterFiles, contentHash, fingerprint, storedBytes } from './adapter-files.ts';

/** Remembered revisions, and folders that did not change. */
const MAX_KNOWN = 4096;

/** Characters of the content hash that name a generation. */
export const GENERATION_LEN = 16;

/** Weights of float32 may be held in 16 bits; no weight is held in less. */
const MOST_STORED_PER_HELD_BYTE = 2;
/** Tokenizers, and what else is beside the weights. */
const OTHER_BYTES = 256 << 20;

/** Folders of the operator may change while they are read, and are at rest soon after. */
const MAX_ATTEMPTS = 3;

const CHANGED = 'its files changed while it was loaded';

export class Generations {
  readonly #baseIdentity: string;
  readonly #budgetBytes: number;
  readonly #byRevision = new LRUCache<string, string>({ max: MAX_KNOWN });
  readonly #byFingerprint = new LRUCache<string, string>({ max: MAX_KNOWN });
  readonly #hashing = new SharedJobs<string>();

  /** The same adapter over another base is another generation. What can never fit the budget is not even read. */
  constructor(baseIdentity: string, budgetBytes: number = Infinity) {
    this.#baseIdentity = baseIdentity;
    this.#budgetBytes = budgetBytes;
  }

  /** What a place of a known revision holds; undefined where only its files can tell. */
  known({ source, id, revision }: AdapterLocation): string | undefined {
    return revision === undefined ? undefined : this.#byRevision.get(`${source} ${id} ${revision}`);
  }

  async identify(location: AdapterLocation, folder: ResolvedFolder, signal: AbortSignal): Promise<string> {
    const { source, id, revision } = location;
    const generation = await this.#ofFiles(id, folder, signal);
    if (revision !== undefined) this.#byRevision.set(`${source} ${id} ${revision}`, generation);
    return generation;
  }

  /** Throws where the files are not those any more; what was read of them meanwhile is of neither content. */
  async checkUnchanged(
    generation: string,
    location: AdapterLocation,
    folder: ResolvedFolder,
    signal: AbortSignal,
  ): Promise<void> {
    if ((await this.#ofFiles(location.id, folder, signal)) !== generation) throw changed(location.id);
  }

  /** A sparse file of terabytes takes no room on a disk, and days to read. */
  #checkSize(fileBytes: number, adapterId: string): void {
    const neededBytes = Math.ceil((fileBytes - OTHER_BYTES) / MOST_STORED_PER_HELD_BYTE);
    const budgetBytes = this.#budgetBytes;
    if (neededBytes > budgetBytes) throw new LoraxError('ADAPTER_TOO_LARGE', { adapterId, neededBytes, budgetBytes });
  }

  async #ofFiles(id: string, folder: ResolvedFolder, signal: AbortSignal): Promise<string> {
    try {
      const paths = await adapterFiles(folder, id);
      const print = await fingerprint(paths);
      const known = this.#byFingerprint.get(print);
      if (known !== undefined) return known;
      this.#checkSize(await storedBytes(paths), id);
      const hash = await this.#hashing.run(print, signal, (shared) => contentHash(paths, this.#baseIdentity, shared));
      const generation = hash.slice(0, GENERATION_LEN);
      // Bytes that were written after the fingerprint was taken must not be remembered under it.
      if ((await fingerprint(paths)) !== print) throw changed(id);
      this.#byFingerprint.set(print, generation);
      return generation;
    } catch (error) {
      throw isFileError(error) ? changed(id, error) : error;
    }
  }
}

/** Whether another attempt may find the files at rest. */
export function isChangedError(error: unknown): boolean {
  return error instanceof LoraxError && error.code === 'ADAPTER_INVALID' && error.params.reason === CHANGED;
}

/** Once more where files changed under a reader's hands. */
export async function untilAtRest<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt();
    } catch (error) {
      if (count === MAX_ATTEMPTS || signal.aborted || !isChangedError(error)) throw error;
    }
  }
}

function changed(adapterId: string, cause?: unknown): LoraxError {
  return new LoraxError('ADAPTER_INVALID', { adapterId, reason: CHANGED }, { cause });
}

/** A file that was there a moment ago, or a folder in its place. */
function isFileError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(String(error.code));
}

/**
 * Reads an adapter folder's tokenizer files, which are a stranger's: only plain files of bounded size inside the folder's
 * root. Knows nothing about what they mean.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { LoraxError } from '../base/errors.ts';
import { checkContained, errorCode } from '../sources/containment.ts';
import type { HashedBytes } from './codec-source.ts';
import { SETTINGS_FILES, type SettingsFile, type SettingsFiles, TextFileError } from './tokenizer-files.ts';

/** The largest that are known have 33 MB. */
const MAX_TOKENIZER_BYTES = 64 << 20;
/** Short enough to be hashed between two steps. */
const CHUNK_BYTES = 1 << 20;
const MISSING: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR']);
const TOKENIZER_FILE = 'tokenizer.json';

/** Names of the files, relative to the folder, that can make an adapter's tokenizer another one. */
export const ADAPTER_TEXT_FILES: readonly string[] = [TOKENIZER_FILE, ...Object.keys(SETTINGS_FILES)];

/** A folder on this machine; with a root its files are only read while they lie under it. */
export interface AdapterFolder {
  readonly folder: string;
  readonly root: string | undefined;
}

export interface AdapterTextFiles {
  readonly tokenizer: HashedBytes | undefined;
  readonly settings: SettingsFiles;
}

/** Throws a `TextFileError`, or ADAPTER_FORBIDDEN for a link that leads out of the root. */
export async function readAdapterTextFiles(place: AdapterFolder, adapterId: string): Promise<AdapterTextFiles> {
  const settings: Partial<Record<SettingsFile, Uint8Array>> = {};
  for (const [name, maxBytes] of Object.entries(SETTINGS_FILES) as [SettingsFile, number][]) {
    const read = await readBounded(place, name, maxBytes, adapterId);
    if (read !== undefined) settings[name] = read.bytes;
  }
  return { tokenizer: await readBounded(place, TOKENIZER_FILE, MAX_TOKENIZER_BYTES, adapterId), settings };
}

async function readBounded(
  { folder, root }: AdapterFolder,
  name: string,
  maxBytes: number,
  adapterId: string,
): Promise<HashedBytes | undefined> {
  const handle = await openIfThere(join(folder, name), root, adapterId);
  if (handle === undefined) return undefined;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new TextFileError(basename(name), 'it is not a file');
    if (stat.size > maxBytes) throw new TextFileError(basename(name), `it is larger than ${maxBytes} bytes`);
    return await readHashed(handle, basename(name), stat.size);
  } finally {
    await handle.close();
  }
}

async function openIfThere(path: string, root: string | undefined, adapterId: string): Promise<FileHandle | undefined> {
  try {
    await lstat(path);
    const real = root === undefined ? path : await checkContained(root, path, adapterId);
    // A pipe in the file's place would otherwise keep the open waiting for its other end.
    return await open(real, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof LoraxError) throw error;
    if (MISSING.has(errorCode(error))) return undefined;
    throw new TextFileError(basename(path), 'it cannot be read', { cause: error });
  }
}

async function readHashed(handle: FileHandle, name: string, size: number): Promise<HashedBytes> {
  const bytes = Buffer.alloc(size);
  const hash = createHash('sha256');
  for (let at = 0; at < size;) {
    const { bytesRead } = await handle.read(bytes, at, Math.min(CHUNK_BYTES, size - at), at);
    if (bytesRead === 0) throw new TextFileError(name, 'it became shorter while it was read');
    hash.update(bytes.subarray(at, at + bytesRead));
    at += bytesRead;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/**
 * Reads an adapter folder's tokenizer files, which are a stranger's: only plain files of bounded size. Knows nothing about
 * what they mean, and leaves it to whoever names the folder that its links lead nowhere else.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { HashedBytes } from './codec-source.ts';
import { SETTINGS_FILES, type SettingsFile, type SettingsFiles, TextFileError } from './tokenizer-files.ts';

/** The largest that are known have 33 MB. */
const MAX_TOKENIZER_BYTES = 64 << 20;
/** Short enough to be hashed between two steps. */
const CHUNK_BYTES = 1 << 20;
/** Sources bring files from the root of a repository only. */
const ROOT_FILES = (Object.entries(SETTINGS_FILES) as [SettingsFile, number][]).filter(([name]) => !name.includes('/'));

export interface AdapterTextFiles {
  readonly tokenizer: HashedBytes | undefined;
  readonly settings: SettingsFiles;
}

/** Throws a `TextFileError`. */
export async function readAdapterTextFiles(folder: string): Promise<AdapterTextFiles> {
  const settings: Partial<Record<SettingsFile, Uint8Array>> = {};
  for (const [name, maxBytes] of ROOT_FILES) {
    const read = await readBounded(join(folder, name), maxBytes);
    if (read !== undefined) settings[name] = read.bytes;
  }
  return { settings, tokenizer: await readBounded(join(folder, 'tokenizer.json'), MAX_TOKENIZER_BYTES) };
}

async function readBounded(path: string, maxBytes: number): Promise<HashedBytes | undefined> {
  const name = basename(path);
  const handle = await openIfThere(path);
  if (handle === undefined) return undefined;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new TextFileError(name, 'it is not a file');
    if (stat.size > maxBytes) throw new TextFileError(name, `it is larger than ${maxBytes} bytes`);
    return await readHashed(handle, name, stat.size);
  } finally {
    await handle.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    // A pipe in the file's place would otherwise keep the open waiting for its other end.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
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

/**
 * The files of one adapter folder: which they are, whether they changed, and what identifies their content.
 * Knows nothing about what they mean.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { checkContained } from '../../sources/containment.ts';
import { adapterFiles as partsOfAdapter } from '../../sources/repo-files.ts';
import type { ResolvedFolder } from '../../sources/source.ts';

/**
 * Real paths of the files that an adapter consists of, by name: configuration, weights, and its own tokenizer and chat
 * template, which change its answers as well. Throws ADAPTER_FORBIDDEN for links out of the root.
 */
export async function adapterFiles(
  { folder, root }: Pick<ResolvedFolder, 'folder' | 'root'>,
  id: string,
): Promise<string[]> {
  const names = partsOfAdapter(await readdir(folder)).toSorted();
  const paths = names.map((name) => join(folder, name));
  return root === undefined ? paths : Promise.all(paths.map((path) => checkContained(root, path, id)));
}

/** Changes whenever a file is replaced, written or touched; costs no reading. */
export async function fingerprint(paths: readonly string[]): Promise<string> {
  const stats = await Promise.all(paths.map((path) => stat(path, { bigint: true })));
  return stats.map(({ dev, ino, size, mtimeNs }, i) => `${paths[i]} ${dev} ${ino} ${size} ${mtimeNs}`).join('\n');
}

/** Of all files together. */
export async function storedBytes(paths: readonly string[]): Promise<number> {
  const stats = await Promise.all(paths.map((path) => stat(path)));
  return stats.reduce((sum, { size }) => sum + size, 0);
}

/** SHA-256 over `salt` and each file's name, size and bytes, in hexadecimal. Rejects with the signal's reason. */
export async function contentHash(paths: readonly string[], salt: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256').update(salt);
  for (const path of paths) {
    const { size } = await stat(path);
    hash.update(`\n${basename(path)} ${size}\n`);
    for await (const chunk of createReadStream(path)) {
      signal.throwIfAborted();
      hash.update(chunk as Buffer);
    }
  }
  return hash.digest('hex');
}

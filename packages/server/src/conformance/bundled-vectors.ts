/**
 * The reference vectors that the repository carries: one archive for each model, made by `scripts/pack-vectors.mjs`, and the
 * tokenizers that the text folder's tests use. Knows the archives' form, not what is in them.
 */

import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import { KINDS, unpackTokenizers } from '../text/testdata/fixtures.ts';

const ARCHIVES = fileURLToPath(new URL('../../src/conformance/testdata/', import.meta.url));

/** Writes the set below `folder`, in the form that the suite takes. */
export function unpackVectors(folder: string): void {
  for (const name of readdirSync(ARCHIVES)) {
    if (!name.endsWith('.br')) continue;
    for (const [path, bytes] of readArchive(join(ARCHIVES, name))) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
  }
  const tokenizers = unpackTokenizers();
  for (const kind of KINDS) cpSync(tokenizers.folderOf(kind), join(folder, 'tokenizers', kind), { recursive: true });
  tokenizers.remove();
}

/** A line of JSON, `[[path, length], ...]`, and the files' bytes one after the other. */
function readArchive(path: string): [path: string, bytes: Uint8Array][] {
  const content = brotliDecompressSync(readFileSync(path));
  const end = content.indexOf(10);
  const index = JSON.parse(content.toString('utf8', 0, end)) as [string, number][];
  let at = end + 1;
  return index.map(([name, length]) => [name, content.subarray(at, (at += length))]);
}

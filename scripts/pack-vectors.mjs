/**
 * Packs the part of a set of reference vectors that the tests need into packages/server/src/conformance/testdata: models
 * that are served, their adapters, merges and the mixed batch, an archive for each (build first).
 * usage: node scripts/pack-vectors.mjs ../shared/goldens
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

import { findCases } from '../packages/server/dist/conformance/cases.js';

const [root] = process.argv.slice(2);
if (root === undefined) throw new Error('usage: node scripts/pack-vectors.mjs DIR');
const target = new URL('../packages/server/src/conformance/testdata/', import.meta.url);

/** One line `[[path, length], ...]`, then the files' bytes. */
function archive(folders) {
  const files = folders.flatMap(({ path, folder }) =>
    readdirSync(folder).map((name) => ({ path: `${path}/${name}`, bytes: readFileSync(join(folder, name)) })),
  );
  const index = files.map(({ path, bytes }) => [path, bytes.length]);
  return Buffer.concat([Buffer.from(`${JSON.stringify(index)}\n`), ...files.map(({ bytes }) => bytes)]);
}

function write(name, folders) {
  const content = archive(folders);
  const size = { [constants.BROTLI_PARAM_SIZE_HINT]: content.length, [constants.BROTLI_PARAM_LGWIN]: 24 };
  const packed = brotliCompressSync(content, { params: size });
  writeFileSync(new URL(`${name}.br`, target), packed);
  console.log(`${name}.br ${packed.length} bytes, unpacked ${content.length}`);
}

mkdirSync(target, { recursive: true });
for (const { name, folder, adapters, merges, mixedBatch } of findCases(root).models) {
  const folders = adapters.map((adapter) => ({ path: `adapters/${adapter.name}`, folder: adapter.folder }));
  write(name, [{ path: `models/${name}`, folder }, ...folders]);
  const merged = merges.map((merge) => ({ path: merge.name, folder: merge.folder }));
  if (merged.length > 0) write('merges', merged);
  if (mixedBatch) write(mixedBatch.name, [{ path: mixedBatch.name, folder: mixedBatch.folder }]);
}

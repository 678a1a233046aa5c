import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { liveHandles } from '../base/handles.ts';
import { writeSafetensors } from './safetensors-writer.ts';
import { openAdapterTensors, openModelTensors } from './tensor-folder.ts';
import type { TensorFile } from './tensor-view.ts';
import { isFiniteTensor, readFloats } from './values.ts';

const repository = new URL('../../../../', import.meta.url);
const fixture = fileURLToPath(new URL('packages/server/src/weights/testdata/adapter_model.bin', repository));
const root = mkdtempSync(join(tmpdir(), 'lorax-folders-'));
after(() => {
  rmSync(root, { recursive: true });
  assert.deepEqual(liveHandles(), {});
});

/** A folder with safetensors files: file name to the names of its tensors, whose value is their place. */
function folderOf(files: Record<string, readonly string[]>): string {
  const folder = mkdtempSync(join(root, 'folder-'));
  for (const [file, names] of Object.entries(files)) {
    const tensors = names.map((name, i) => ({ name, dtype: 'float32', shape: [1], bytes: valueBytes(i) }) as const);
    writeSafetensors(join(folder, file), tensors);
  }
  return folder;
}

const valueBytes = (value: number) => new Uint8Array(Float32Array.of(value).buffer);

function writeIndex(folder: string, stem: string, weightMap: unknown): void {
  writeFileSync(
    join(folder, `${stem}.safetensors.index.json`),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
}

function namesOf(file: TensorFile): string[] {
  const names = [...file.names].sort();
  for (const name of names) assert.ok(file.get(name), name);
  file.dispose();
  return names;
}

function refuses(open: () => TensorFile, message: RegExp): void {
  assert.throws(open, { code: 'FILE_INVALID', message });
  assert.deepEqual(liveHandles(), {});
}

test('a model is model.safetensors, else its shards, else the only safetensors file', () => {
  const folder = folderOf({ 'weights.safetensors': ['only'] });
  assert.deepEqual(namesOf(openModelTensors(folder)), ['only']);
  writeSafetensors(join(folder, 'm1.safetensors'), [{ name: 'a', dtype: 'float32', shape: [1], bytes: valueBytes(1) }]);
  writeIndex(folder, 'model', { a: 'm1.safetensors', only: 'weights.safetensors' });
  const sharded = openModelTensors(folder);
  assert.equal(sharded.byteLength, 8);
  assert.equal(sharded.get('b'), undefined);
  assert.equal(readFloats(sharded.get('a')!)[0], 1);
  assert.deepEqual(namesOf(sharded), ['a', 'only']);
  writeSafetensors(join(folder, 'model.safetensors'), []);
  assert.deepEqual(namesOf(openModelTensors(folder)), []);
});

test('a model folder without a clear answer is refused', () => {
  refuses(() => openModelTensors(folderOf({})), /^folder-\w+: the folder has no \*\.safetensors file$/);
  refuses(
    () => openModelTensors(folderOf({ 'a.safetensors': [], 'b.safetensors': [] })),
    /has 2 \*\.safetensors files/,
  );
  refuses(() => openModelTensors(join(root, 'nowhere')), /^nowhere: the folder cannot be read$/);
});

test('an index that names missing shards or tensors, or leads out, is refused', () => {
  const index = (weightMap: unknown) => {
    const folder = folderOf({ 's1.safetensors': ['a', 'b'], 's2.safetensors': ['b', 'c'] });
    writeIndex(folder, 'model', weightMap);
    return () => openModelTensors(folder);
  };
  refuses(index({ a: 's1.safetensors', d: 's3.safetensors' }), /index\.json: the shard "s3\.safetensors" is missing/);
  refuses(index({ a: 's1.safetensors', d: 's1.safetensors' }), /tensor "d" is missing from "s1\.safetensors"/);
  refuses(index({ a: 's1.safetensors', c: 's2.safetensors' }), /^s2\.safetensors: tensor "b" is in another shard too/);
  for (const shard of [
    '../s1.safetensors',
    '/etc/x.safetensors',
    'x\\s1.safetensors',
    '..',
    '',
    'a.bin',
    'C:x.safetensors',
  ]) {
    refuses(index({ a: shard }), /is not the plain name of a safetensors file/);
  }
  refuses(index({ a: 1 }), /tensor "a" is mapped to no file name/);
  refuses(index({}), /weight_map is empty/);
  refuses(index([]), /no weight_map object/);
  refuses(index(undefined), /no weight_map object/);
});

test('an index that is not a JSON object with unique keys is refused', () => {
  const folder = folderOf({ 's1.safetensors': ['a'] });
  for (const json of ['', '[]', '{"weight_map":{"a":"s1.safetensors","a":"s1.safetensors"}}']) {
    writeFileSync(join(folder, 'model.safetensors.index.json'), json);
    refuses(() => openModelTensors(folder), /index\.json: not a valid JSON object/);
  }
});

test('a shard that cannot be opened closes those before it', () => {
  const folder = folderOf({ 's1.safetensors': ['a'], 's2.safetensors': ['b'] });
  writeFileSync(join(folder, 's3.safetensors'), 'damaged');
  writeIndex(folder, 'model', { a: 's1.safetensors', b: 's2.safetensors', c: 's3.safetensors' });
  refuses(() => openModelTensors(folder), /^s3\.safetensors: too short/);
});

test('an adapter is one safetensors file, else its shards, else the torch checkpoint', () => {
  const folder = folderOf({});
  refuses(() => openAdapterTensors(folder), /neither adapter_model\.safetensors nor adapter_model\.bin/);
  copyFileSync(fixture, join(folder, 'adapter_model.bin'));
  assert.equal(namesOf(openAdapterTensors(folder)).length, 28);
  const tensor = (name: string) => ({ name, dtype: 'bfloat16', shape: [], bytes: new Uint8Array(2) }) as const;
  writeSafetensors(join(folder, 'adapter_model-00001-of-00002.safetensors'), [tensor('a')]);
  refuses(() => openAdapterTensors(folder), /has 1 of the 2 shards/);
  writeSafetensors(join(folder, 'adapter_model-00002-of-00002.safetensors'), [tensor('b')]);
  assert.deepEqual(namesOf(openAdapterTensors(folder)), ['a', 'b']);
  writeSafetensors(join(folder, 'part.safetensors'), [tensor('c')]);
  writeIndex(folder, 'adapter_model', { c: 'part.safetensors' });
  assert.deepEqual(namesOf(openAdapterTensors(folder)), ['c']);
  writeSafetensors(join(folder, 'adapter_model.safetensors'), [tensor('d')]);
  assert.deepEqual(namesOf(openAdapterTensors(folder)), ['d']);
});

test('numbered shards of two sets are refused', () => {
  const folder = folderOf({
    'adapter_model-00001-of-00002.safetensors': ['a'],
    'adapter_model-00001-of-00003.safetensors': ['b'],
  });
  refuses(() => openAdapterTensors(folder), /shards of its adapter/);
});

test('links are followed, as a cache folder consists of them', () => {
  const folder = folderOf({ blob: ['a'] });
  symlinkSync('blob', join(folder, 'model.safetensors'));
  assert.deepEqual(namesOf(openModelTensors(folder)), ['a']);
});

test('every adapter and model at hand opens, and all its values are finite', () => {
  const adapter = folderOf({});
  copyFileSync(fixture, join(adapter, 'adapter_model.bin'));
  const goldens = fileURLToPath(new URL('../shared/goldens/', repository));
  const adapters = [adapter, ...foldersWith(join(goldens, 'adapters'), 2, 'adapter_config.json')];
  const models = foldersWith(join(goldens, 'models'), 1, 'config.json');
  for (const file of [...adapters.map(openAdapterTensors), ...models.map(openModelTensors)]) {
    assert.ok(file.names.length > 0);
    for (const name of file.names) assert.ok(isFiniteTensor(file.get(name)!), name);
    file.dispose();
  }
});

/** Folders `depth` levels below `top` that hold `file`; none where there is no `top`. */
function foldersWith(top: string, depth: number, file: string): string[] {
  if (depth === 0) return existsSync(join(top, file)) ? [top] : [];
  if (!existsSync(top)) return [];
  return readdirSync(top).flatMap((name) => foldersWith(join(top, name), depth - 1, file));
}

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ModuleCache, moduleFileName, type ModuleKey } from './module-cache.ts';

const KEY: ModuleKey = {
  source: { name: 'rows.cu', text: 'void f();', headers: { 'elements.cuh': 'typedef int T;' } },
  options: ['--gpu-architecture=sm_90'],
  compilerVersion: '13.0',
};

describe('the cache of kernels', () => {
  let folder: string;
  before(() => void (folder = mkdtempSync(join(tmpdir(), 'lorax-kernels-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('names a module by all that decides what it is', () => {
    const { source } = KEY;
    const others: ModuleKey[] = [
      { ...KEY, options: ['--gpu-architecture=sm_80'] },
      { ...KEY, compilerVersion: '12.8' },
      { ...KEY, source: { ...source, text: 'void g();' } },
      { ...KEY, source: { ...source, headers: { 'elements.cuh': 'typedef long T;' } } },
    ];
    const names = [KEY, ...others].map(moduleFileName);
    assert.equal(new Set(names).size, names.length);
    assert.match(names[0]!, /^rows-[0-9a-f]{32}\.cubin$/);
  });

  it('finds what was kept, and nothing before', () => {
    const place = join(folder, 'new');
    assert.equal(new ModuleCache(place).find(KEY), undefined);
    new ModuleCache(place).keep(KEY, Uint8Array.of(1, 2, 3));
    assert.deepEqual([...new ModuleCache(place).find(KEY)!], [1, 2, 3]);
    assert.deepEqual(readdirSync(place), [moduleFileName(KEY)]);
  });

  it('does without a folder that cannot be made', () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const cache = new ModuleCache(join(file, 'below'));
    cache.keep(KEY, Uint8Array.of(7));
    assert.equal(cache.find(KEY), undefined);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import type { AdapterSource } from '../base/adapter-reference.ts';
import { openHub } from './hub.ts';
import { openSources } from './registry.ts';
import { ADAPTER_FILES } from './testing/conformance.ts';
import { temporaryFolder, writeFiles } from './testing/temporary-folder.ts';

const signal = new AbortController().signal;

describe('openSources', () => {
  it('serves each source under its name', async (context) => {
    const adapterRoot = temporaryFolder(context);
    writeFiles(adapterRoot, { 'a/adapter_config.json': '{}', 'a/adapter_model.safetensors': '' });
    const hub = openHub({ cacheDir: adapterRoot, offline: true });
    const sources = openSources({ adapterRoot, hub });
    for (const [name, source] of Object.entries(sources)) assert.equal(source.name, name);
    assert.equal(sources.hub, hub);
    assert.equal((await sources.local.locate('a', { signal })).id, 'a');
    assert.deepEqual(await sources.local.list(signal), ['a']);
  });

  it('names the sources that are served where one is not', async (context) => {
    const adapterRoot = temporaryFolder(context);
    writeFiles(adapterRoot, ADAPTER_FILES);
    const hub = openHub({ cacheDir: adapterRoot, offline: true });
    const cases: readonly (readonly [AdapterSource, string | undefined, RegExp])[] = [
      ['local', undefined, /^`adapter_source` `local` needs .*--adapter-root; served here: hub$/],
      ['s3', undefined, /^`adapter_source` `s3` .*served here: hub$/],
      ['pbase', adapterRoot, /^`adapter_source` `pbase` .*served here: hub, local$/],
    ];
    for (const [name, root, message] of cases) {
      const source = openSources({ adapterRoot: root, hub })[name];
      await assert.rejects(source.locate('a', { signal }), { code: 'VALIDATION', message });
      assert.deepEqual(await source.list(signal), []);
    }
  });
});

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { DiskCache } from './disk-cache.ts';
import { ON_WEIGHTS, WEIGHTS, adapterWith, blobs, resolve, setUpHub, sha256 } from './testing/hub-setting.ts';

/** A server that fetches `org/a` into a cache with a ledger, in a process of its own. */
function startFetch(endpoint: string, cacheDir: string): ChildProcess {
  const program = `
    const { openHub } = await import(${JSON.stringify(import.meta.resolve('./hub.js'))});
    const { DiskCache } = await import(${JSON.stringify(import.meta.resolve('./disk-cache.js'))});
    const [endpoint, cacheDir] = process.argv.slice(1);
    const disk = await DiskCache.open({ cacheDir, budgetBytes: 1e9 });
    const hub = openHub({ endpoint, cacheDir, offline: false, disk });
    const signal = new AbortController().signal;
    await (await hub.locate('org/a', { signal })).fetch({ signal });
  `;
  const args = ['--input-type=module', '-e', program, '--', endpoint, cacheDir];
  return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

describe('a server that is killed while it downloads', () => {
  it('leaves what the next one continues, and a ledger that is right', async (context) => {
    const { fake, cacheDir, open } = await setUpHub(context);
    const weights = Buffer.alloc(1 << 20, 'abcdefg');
    const files = adapterWith(weights);
    fake.publish('org/a', files);
    const blobDir = join(cacheDir, 'models--org--a/blobs');
    const partial = (): string | undefined => {
      const names = readdirSync(join(cacheDir), { recursive: true }) as string[];
      return names.find((name) => name.includes(sha256(weights)) && name.endsWith('.incomplete'));
    };
    let keptBytes = 0;
    for (const stallAfterBytes of [100_000, 30_000, 250_000]) {
      fake.trouble({ on: ON_WEIGHTS, stallAfterBytes });
      const server = startFetch(fake.endpoint, cacheDir);
      context.after(() => server.kill('SIGKILL'));
      const hasStalled = (): boolean => {
        const path = partial();
        // It changes its name when the next server takes it over.
        const size = path === undefined ? 0 : (statSync(join(cacheDir, path), { throwIfNoEntry: false })?.size ?? 0);
        return size >= keptBytes + stallAfterBytes;
      };
      while (server.exitCode === null && !hasStalled()) await new Promise((next) => setTimeout(next, 10));
      server.kill('SIGKILL');
      await once(server, 'close');
      keptBytes += stallAfterBytes;
      // The next one would wait until the file has not grown for a while.
      utimesSync(join(cacheDir, partial() ?? ''), new Date(0), new Date(0));
    }
    const ranges = fake.requests.filter(({ at }) => at === 'cdn').map(({ range }) => range);
    assert.deepEqual(ranges, [undefined, 'bytes=100000-', 'bytes=130000-']);
    const disk = await DiskCache.open({ cacheDir, budgetBytes: 1e9 });
    const configBytes = files['adapter_config.json']?.length ?? 0;
    assert.equal(disk.totalBytes, keptBytes + configBytes);
    const { folder, byteLength } = await resolve(open({ disk }));
    assert.equal(fake.requests.at(-1)?.range, `bytes=${keptBytes}-`);
    assert.ok(readFileSync(join(folder, WEIGHTS)).equals(weights));
    assert.equal(byteLength, weights.length + configBytes);
    assert.equal(blobs(cacheDir).length, 2);
    await disk.settled();
    const onDisk = readdirSync(blobDir).reduce((sum, name) => sum + statSync(join(blobDir, name)).size, 0);
    assert.equal(disk.totalBytes, onDisk);
  });
});

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';

import { DiskCache } from './disk-cache.ts';
import type { Hub } from './hub.ts';
import type { SourceLog } from './source-log.ts';
import {
  type HubSetting,
  ON_WEIGHTS,
  WEIGHTS,
  adapterWith,
  never,
  resolve,
  setUpHub,
  thrownBy,
} from './testing/hub-setting.ts';

interface DiskSetting extends HubSetting {
  readonly disk: DiskCache;
  readonly hub: Hub;
  readonly lines: string[];
}

const CONFIG_BYTES = adapterWith()['adapter_config.json']!.length;

async function setUpDisk(context: TestContext, budgetBytes: number): Promise<DiskSetting> {
  const setting = await setUpHub(context);
  const lines: string[] = [];
  const write =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const log: SourceLog = { debug: write('debug'), info: write('info'), warn: write('warn') };
  let nowMs = 0;
  const disk = await DiskCache.open({ cacheDir: setting.cacheDir, budgetBytes, log, now: () => ++nowMs });
  return { ...setting, disk, lines, hub: setting.open({ disk, log }) };
}

describe('the Hub with a disk cache', () => {
  it('keeps its adapters within the budget', async (context) => {
    const { fake, cacheDir, disk, hub } = await setUpDisk(context, 2 * (CONFIG_BYTES + 100));
    for (const id of ['org/a', 'org/b', 'org/c']) {
      fake.publish(id, adapterWith(id.repeat(20)));
      assert.equal((await resolve(hub, id)).byteLength, CONFIG_BYTES + 100);
      await disk.settled();
    }
    assert.deepEqual(
      disk.snapshots().map(({ id }) => id),
      ['org/b', 'org/c'],
    );
    assert.ok(!existsSync(join(cacheDir, 'models--org--a')));
    assert.equal(readFileSync(join((await resolve(hub, 'org/a')).folder, WEIGHTS), 'utf8'), 'org/a'.repeat(20));
  });

  it('refuses an adapter larger than the budget before its weights are fetched', async (context) => {
    const { fake, cacheDir, disk, hub } = await setUpDisk(context, 1000);
    fake.publish('org/a', adapterWith('w'.repeat(1000)));
    const error = await thrownBy(resolve(hub));
    assert.equal(error.code, 'ADAPTER_TOO_LARGE');
    assert.deepEqual([error.spec.status, error.params['neededBytes']], [422, 1000 + CONFIG_BYTES]);
    assert.ok(!fake.seen.some((line) => line.startsWith('cdn')));
    await disk.settled();
    assert.equal(disk.totalBytes, CONFIG_BYTES);
    assert.equal(await disk.remove('hub', 'org/a'), CONFIG_BYTES);
    assert.ok(!existsSync(join(cacheDir, 'models--org--a')));
  });

  it('does not evict what somebody still reads', async (context) => {
    const { fake, disk, hub } = await setUpDisk(context, 150);
    for (const id of ['org/a', 'org/b']) fake.publish(id, adapterWith('w'.repeat(100)));
    const held = await (await hub.locate('org/a', { signal: never })).fetch({ signal: never });
    await resolve(hub, 'org/b');
    await disk.settled();
    assert.deepEqual(
      disk.snapshots().map(({ id }) => id),
      ['org/a'],
    );
    assert.equal(readFileSync(join(held.folder, WEIGHTS), 'utf8').length, 100);
    held.release();
  });

  it('never counts a base model, nor what was in the cache before', async (context) => {
    const { fake, disk, hub, open } = await setUpDisk(context, 150);
    fake.publish('org/base', { 'config.json': '{}', 'model.safetensors': 'w'.repeat(1000) });
    await hub.fetchModel('org/base', undefined, { signal: never });
    fake.publish('org/a', adapterWith('w'.repeat(1000)));
    await resolve(open());
    assert.equal((await resolve(hub)).byteLength, 0);
    await disk.settled();
    assert.deepEqual([disk.totalBytes, disk.snapshots().length], [0, 0]);
  });

  it('gives back what a fetch took that failed or was aborted', async (context) => {
    const { fake, cacheDir, disk, hub } = await setUpDisk(context, 1 << 20);
    fake.publish('org/a', adapterWith('w'.repeat(300_000)));
    fake.trouble({ on: ON_WEIGHTS, times: 100, status: 403 });
    assert.equal((await thrownBy(resolve(hub))).code, 'ADAPTER_FORBIDDEN');
    await disk.settled();
    assert.equal(disk.totalBytes, CONFIG_BYTES);
    assert.equal(readdirSync(join(cacheDir, '.lorax-adapters')).length, 1);
  });

  it('serves an evicted adapter again from a location that was remembered', async (context) => {
    const { fake, disk, hub } = await setUpDisk(context, 1000);
    fake.publish('org/a', adapterWith());
    const location = await hub.locate('org/a', { signal: never });
    for (const _ of [1, 2]) {
      const folder = await location.fetch({ signal: never });
      assert.equal(readFileSync(join(folder.folder, WEIGHTS), 'utf8'), 'weights');
      folder.release();
      assert.ok((await disk.remove('hub', 'org/a')) > 0);
    }
  });
});

describe('the log of downloads', () => {
  it('says what was fetched, once for many who wait, with bytes and seconds and no more', async (context) => {
    const { fake, lines, hub, cacheDir } = await setUpDisk(context, 1 << 30);
    const weights = Buffer.alloc(3 << 20, 'abc');
    fake.publish('org/a', adapterWith(weights), { tokens: ['hf_secret'] });
    await Promise.all([1, 2, 3].map(() => resolve(hub, 'org/a', { apiToken: 'hf_secret' })));
    const told = lines.map((line) => line.replace(/"seconds":[\d.]+/, '"seconds":0'));
    const file = `"repo":"org/a","file":"${WEIGHTS}"`;
    assert.deepEqual(
      told.filter((line) => line.startsWith('info')),
      [
        `info downloading {${file},"bytes":${weights.length}}`,
        `info downloaded {${file},"bytes":${weights.length},"seconds":0}`,
      ],
    );
    assert.equal(told.filter((line) => line.startsWith('debug')).length, 2);
    for (const secret of ['hf_secret', 'signature', fake.endpoint, cacheDir]) {
      assert.ok(!lines.some((line) => line.includes(secret)));
    }
  });

  it('says why a download stopped', async (context) => {
    const { fake, lines, hub } = await setUpDisk(context, 1 << 30);
    fake.publish('org/a', adapterWith(Buffer.alloc(2 << 20)));
    fake.trouble({ on: ON_WEIGHTS, times: 100, status: 500 });
    await thrownBy(resolve(hub));
    assert.match(lines.at(-1) ?? '', /^info download stopped .*"reason":"the Hub answered with status 500"/);
  });
});

describe('the operator’s token', () => {
  it('opens adapters to requests without one only where it is shared, for listings and files alike', async (context) => {
    const { fake, open } = await setUpHub(context);
    fake.publish('org/a', adapterWith(), { tokens: ['hf_op'] });
    assert.equal((await thrownBy(resolve(open({ token: 'hf_op' })))).code, 'ADAPTER_FORBIDDEN');
    const sharing = open({ token: 'hf_op', sharesToken: true });
    assert.equal((await thrownBy(resolve(sharing, 'org/a', { apiToken: 'hf_own' }))).code, 'ADAPTER_FORBIDDEN');
    fake.requests.length = 0;
    await resolve(sharing);
    const sent = new Set(fake.requests.map(({ at, authorization }) => `${at} ${authorization}`));
    assert.deepEqual([...sent], ['hub Bearer hf_op', 'cdn undefined']);
  });
});

import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { liveHandles } from '../base/handles.ts';
import type { FakeHub } from './testing/fake-hub.ts';
import {
  ON_WEIGHTS,
  QUICK,
  WEIGHTS,
  adapterWith,
  blobs,
  resolve,
  setUpHub,
  sha256,
  thrownBy,
} from './testing/hub-setting.ts';
import { writeFiles } from './testing/temporary-folder.ts';

describe('downloads from the Hub', () => {
  it('tries again after 429 and 5xx, as long as the Hub asks to wait', async (context) => {
    const { fake, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith());
    fake.trouble({ on: /api\/models/, status: 429, headers: { 'retry-after': '0' } });
    fake.trouble({ on: /HEAD/, status: 503, headers: { 'retry-after': new Date(0).toUTCString() } });
    fake.trouble({ on: ON_WEIGHTS, times: 2, status: 500 });
    assert.equal(readFileSync(join((await resolve(hub)).folder, WEIGHTS), 'utf8'), 'weights');
  });

  it('gives up after a bounded number of tries, and at once when it should wait for long', async (context) => {
    const { fake, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith());
    fake.trouble({ on: /api\/models/, times: QUICK.attemptCount, status: 503 });
    assert.equal((await thrownBy(resolve(hub))).code, 'ADAPTER_UNREACHABLE');
    assert.equal(fake.requests.length, QUICK.attemptCount);
    fake.requests.length = 0;
    fake.trouble({ on: /api\/models/, times: 100, status: 429, headers: { 'retry-after': '3600' } });
    assert.equal((await thrownBy(resolve(hub))).code, 'ADAPTER_UNREACHABLE');
    assert.equal(fake.requests.length, 1);
  });

  it('resumes a transfer that was cut where it stopped', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    const weights = 'w'.repeat(300_000);
    fake.publish('org/a', adapterWith(weights));
    fake.trouble({ on: ON_WEIGHTS, times: 2, stallAfterBytes: 100_000 });
    const work = resolve(hub);
    for (const bytes of [100_000, 200_000]) await cutAt(fake, cacheDir, bytes);
    assert.equal(readFileSync(join((await work).folder, WEIGHTS), 'utf8'), weights);
    const ranges = fake.requests.filter(({ at }) => at === 'cdn').map(({ range }) => range);
    assert.deepEqual(ranges, [undefined, 'bytes=100000-', 'bytes=200000-']);
    assert.ok(blobs(cacheDir).every((name) => !name.endsWith('.incomplete')));
  });

  it('does not count a cut transfer that moved a lot as a failure', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    const weights = Buffer.alloc(8 << 20, 'abc');
    fake.publish('org/a', adapterWith(weights));
    const part = 5 << 18;
    fake.trouble({ on: ON_WEIGHTS, times: 6, stallAfterBytes: part });
    const work = resolve(hub);
    for (const number of [1, 2, 3, 4, 5, 6]) await cutAt(fake, cacheDir, number * part);
    assert.ok(readFileSync(join((await work).folder, WEIGHTS)).equals(weights));
  });

  it('starts over where the server sends the whole file again, or cannot continue', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    for (const [trouble, letter] of [[{ ignoreRange: true }, 'a'] as const, [{ status: 416 }, 'b'] as const]) {
      const weights = letter.repeat(300_000);
      fake.publish('org/a', adapterWith(weights));
      fake.trouble({ on: ON_WEIGHTS, stallAfterBytes: 100_000 });
      fake.trouble({ on: ON_WEIGHTS, ...trouble });
      const work = resolve(hub);
      await cutAt(fake, cacheDir, 100_000);
      assert.equal(readFileSync(join((await work).folder, WEIGHTS), 'utf8'), weights);
    }
    const ranges = fake.requests.filter(({ at }) => at === 'cdn').map(({ range }) => range);
    assert.deepEqual(ranges, [undefined, 'bytes=100000-', undefined, 'bytes=100000-', undefined]);
  });

  it('fetches damaged content again and does not keep it', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith('weights'));
    fake.trouble({ on: ON_WEIGHTS, content: Buffer.from('Weights') });
    assert.equal(readFileSync(join((await resolve(hub)).folder, WEIGHTS), 'utf8'), 'weights');
    fake.publish('org/b', adapterWith('others'));
    fake.trouble({ on: ON_WEIGHTS, times: 100, content: Buffer.from('Others') });
    assert.match((await thrownBy(resolve(hub, 'org/b'))).message, /sha256/);
    assert.deepEqual(
      blobs(cacheDir, 'org--b').filter((name) => name.startsWith(sha256('others'))),
      [],
    );
  });

  it('takes no file of another size than was announced', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith('weights'));
    fake.trouble({ on: ON_WEIGHTS, content: Buffer.from('weights and more') });
    assert.match((await thrownBy(resolve(hub))).message, /larger/);
    fake.trouble({ on: ON_WEIGHTS, times: 100, content: Buffer.from('wei') });
    assert.equal((await thrownBy(resolve(hub))).code, 'ADAPTER_UNREACHABLE');
    assert.ok(!blobs(cacheDir).includes(sha256('weights')));
  });

  it('makes one download of a file that many ask for', async (context) => {
    const { fake, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith());
    const folders = await Promise.all(Array.from({ length: 10 }, () => resolve(hub)));
    assert.equal(new Set(folders.map(({ folder }) => folder)).size, 1);
    assert.equal(fake.requests.filter(({ at, method }) => at === 'cdn' && method === 'GET').length, 1);
  });

  it('leaves only a partial file when it is aborted, and goes on from there', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    const weights = 'w'.repeat(300_000);
    fake.publish('org/a', adapterWith(weights));
    fake.trouble({ on: ON_WEIGHTS, stallAfterBytes: 100_000 });
    const client = new AbortController();
    const reason = new Error('the client went away');
    const work = assert.rejects(resolve(hub, 'org/a', { signal: client.signal }), reason);
    await partialOf(cacheDir, 100_000);
    client.abort(reason);
    await work;
    assert.deepEqual(liveHandles(), {});
    const [repo] = readdirSync(join(cacheDir, 'models--org--a/snapshots'));
    assert.deepEqual(readdirSync(join(cacheDir, 'models--org--a/snapshots', repo ?? '')), ['adapter_config.json']);
    const left = blobs(cacheDir).filter((name) => name.startsWith(sha256(weights)));
    assert.equal(left.length, 1);
    assert.match(left[0] ?? '', /^[0-9a-f]{64}\.[0-9a-f]{8}\.incomplete$/);
    assert.equal(readFileSync(join((await resolve(hub)).folder, WEIGHTS), 'utf8'), weights);
    assert.equal(fake.requests.at(-1)?.range, 'bytes=100000-');
  });

  it('goes on for the others when one who waits goes away', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith('w'.repeat(300_000)));
    fake.trouble({ on: ON_WEIGHTS, stallAfterBytes: 100_000 });
    const first = new AbortController();
    const second = new AbortController();
    const reason = new Error('gone');
    const one = assert.rejects(resolve(hub, 'org/a', { signal: first.signal }), reason);
    const two = assert.rejects(resolve(hub, 'org/a', { signal: second.signal }), reason);
    await partialOf(cacheDir, 100_000);
    first.abort(reason);
    await one;
    assert.deepEqual(liveHandles(), { download: 1 });
    second.abort(reason);
    await two;
    assert.deepEqual(liveHandles(), {});
    await resolve(hub);
  });

  it('continues what a dead process left', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    const weights = 'w'.repeat(1000);
    fake.publish('org/a', adapterWith(weights));
    const left = leavePartial(cacheDir, weights, 600);
    utimesSync(left, new Date(0), new Date(0));
    await resolve(hub);
    assert.equal(fake.requests.at(-1)?.range, 'bytes=600-');
    assert.ok(!existsSync(left));
  });

  it('waits for the download of another process, and takes it over when that one dies', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    const weights = 'w'.repeat(1000);
    for (const dies of [false, true]) {
      fake.publish('org/a', adapterWith(weights));
      fake.requests.length = 0;
      const left = leavePartial(cacheDir, weights, 600);
      const work = resolve(hub);
      await untilSeen(fake, `HEAD /org/a/resolve/${fake.publish('org/a', adapterWith(weights))}/${WEIGHTS}`);
      await new Promise((next) => setTimeout(next, 100));
      assert.ok(!fake.seen.some((line) => line.startsWith('cdn')));
      if (dies) utimesSync(left, new Date(0), new Date(0));
      else {
        writeFileSync(left, weights);
        renameSync(left, left.replace(/\.01234567\.incomplete$/, ''));
      }
      assert.equal(readFileSync(join((await work).folder, WEIGHTS), 'utf8'), weights);
      const ranges = fake.requests.filter(({ at }) => at === 'cdn').map(({ range }) => range);
      assert.deepEqual(ranges, dies ? ['bytes=600-'] : []);
      rmSync(join(cacheDir, 'models--org--a'), { recursive: true });
    }
  });

  it('stops waiting for another process when it is aborted', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith('weights'));
    leavePartial(cacheDir, 'weights', 3);
    const client = new AbortController();
    const reason = new Error('the client went away');
    const work = assert.rejects(resolve(hub, 'org/a', { signal: client.signal }), reason);
    setTimeout(() => client.abort(reason), 50);
    await work;
    assert.deepEqual(liveHandles(), {});
  });

  it('does not believe a partial file whose content is wrong', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith('weights'));
    const left = join(cacheDir, `models--org--a/blobs/${sha256('weights')}.01234567.incomplete`);
    for (const content of ['WEI', 'WEIGHTS', 'much more than weights']) {
      writeFiles(join(cacheDir, 'models--org--a/blobs'), {});
      writeFileSync(left, content);
      utimesSync(left, new Date(0), new Date(0));
      const { folder } = await resolve(hub);
      assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'weights');
      rmSync(join(cacheDir, 'models--org--a'), { recursive: true });
    }
  });
});

/** What another process has of the weights of `org/a` up to now. */
function leavePartial(cacheDir: string, weights: string, bytes: number): string {
  const folder = join(cacheDir, 'models--org--a/blobs');
  const path = join(folder, `${sha256(weights)}.01234567.incomplete`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, weights.slice(0, bytes));
  return path;
}

async function untilSeen(fake: FakeHub, request: string): Promise<void> {
  while (!fake.seen.includes(`hub ${request}`)) await new Promise((next) => setTimeout(next, 5));
}

async function cutAt(fake: FakeHub, cacheDir: string, sizeBytes: number): Promise<void> {
  await partialOf(cacheDir, sizeBytes);
  fake.cutStalled();
}

/** Waits until some partial file has grown to a size. */
async function partialOf(cacheDir: string, sizeBytes: number): Promise<void> {
  const folder = join(cacheDir, 'models--org--a/blobs');
  for (;;) {
    const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.incomplete')) : [];
    // Small files come and go between the two looks.
    const sizes = names.map((name) => lstatSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0);
    if (sizes.some((size) => size >= sizeBytes)) return;
    await new Promise((next) => setTimeout(next, 5));
  }
}

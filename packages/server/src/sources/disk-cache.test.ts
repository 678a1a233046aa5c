import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';

import { LoraxError } from '../base/errors.ts';
import { DiskCache, type DiskCacheOptions, type SnapshotHold, type SnapshotName } from './disk-cache.ts';
import type { LedgerFile } from './disk-ledger.ts';
import { HubCache } from './hub-cache.ts';
import { temporaryFolder, writeFiles } from './testing/temporary-folder.ts';

const COMMITS = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(40));

function nameOf(id: string, revision = COMMITS[0]!): SnapshotName {
  return { source: 'hub', id, revision, folder: `models--${id}` };
}

function file(blob: string, sizeBytes: number, name = `${blob}.safetensors`): LedgerFile {
  return { name, blob, sizeBytes };
}

class Setting {
  readonly cacheDir: string;
  nowMs = 0;

  constructor(context: TestContext) {
    this.cacheDir = temporaryFolder(context);
  }

  open(budgetBytes: number, options: Partial<DiskCacheOptions> = {}): Promise<DiskCache> {
    return DiskCache.open({ cacheDir: this.cacheDir, budgetBytes, now: () => this.nowMs, ...options });
  }

  /** As a source fetches: blobs, then links; what is there already is not written again. */
  async put(name: SnapshotName, files: readonly LedgerFile[]): Promise<void> {
    const cache = new HubCache(this.cacheDir, '0'.repeat(8));
    const repo = name.folder.slice('models--'.length);
    mkdirSync(join(this.cacheDir, name.folder, 'blobs'), { recursive: true });
    for (const { blob, sizeBytes } of files) {
      if (!existsSync(cache.blobPath(repo, blob))) writeFileSync(cache.blobPath(repo, blob), 'x'.repeat(sizeBytes));
    }
    for (const { name: link, blob } of files) await cache.link(repo, name.revision, link, blob);
  }

  async fetch(disk: DiskCache, name: SnapshotName, files: readonly LedgerFile[]): Promise<SnapshotHold> {
    this.nowMs++;
    const hold = await disk.hold(name);
    try {
      await hold.reserve(files);
      await this.put(name, files);
      return hold;
    } catch (error) {
      hold.release();
      throw error;
    }
  }

  async fetchAndRelease(disk: DiskCache, name: SnapshotName, files: readonly LedgerFile[]): Promise<void> {
    (await this.fetch(disk, name, files)).release();
    await disk.settled();
  }

  /** Files of the cache, without the ledger. */
  get paths(): readonly string[] {
    const all = readdirSync(this.cacheDir, { recursive: true }) as string[];
    return all.filter((path) => !path.startsWith('.lorax-adapters')).toSorted();
  }

  get ledgerFiles(): readonly string[] {
    const folder = join(this.cacheDir, '.lorax-adapters');
    return existsSync(folder) ? readdirSync(folder) : [];
  }
}

const idsOf = (disk: DiskCache): readonly string[] => disk.snapshots().map(({ id }) => id);

describe('DiskCache', () => {
  it('evicts the least recently used snapshot with all that belongs to it', async (context) => {
    const setting = new Setting(context);
    const disk = await setting.open(100);
    for (const id of ['one', 'two', 'three']) await setting.fetchAndRelease(disk, nameOf(id), [file(`b-${id}`, 30)]);
    assert.equal(disk.totalBytes, 90);
    await setting.fetchAndRelease(disk, nameOf('one'), []);
    await setting.fetchAndRelease(disk, nameOf('four'), [file('b-four', 40)]);
    assert.deepEqual(idsOf(disk), ['one', 'three', 'four']);
    assert.equal(disk.totalBytes, 100);
    assert.equal(
      setting.paths.some((path) => path.includes('two')),
      false,
    );
    assert.equal(setting.ledgerFiles.length, 3);
  });

  it('never evicts what is held, and makes up for it afterwards', async (context) => {
    const setting = new Setting(context);
    const disk = await setting.open(100);
    const first = await setting.fetch(disk, nameOf('one'), [file('b-1', 80)]);
    const second = await setting.fetch(disk, nameOf('two'), [file('b-2', 80)]);
    assert.equal(disk.totalBytes, 160);
    assert.deepEqual(
      disk.snapshots().map(({ isHeld }) => isHeld),
      [true, true],
    );
    assert.equal(second.byteLength, 80);
    first.release();
    first.release();
    await disk.settled();
    assert.deepEqual(idsOf(disk), ['two']);
    assert.ok(existsSync(join(setting.cacheDir, 'models--two/snapshots', COMMITS[0]!, 'b-2.safetensors')));
    second.release();
    await disk.settled();
    assert.deepEqual(
      disk.snapshots().map(({ isHeld, byteLength }) => [isHeld, byteLength]),
      [[false, 80]],
    );
  });

  it('refuses what could never fit before anything is evicted for it', async (context) => {
    const setting = new Setting(context);
    const disk = await setting.open(100);
    await setting.fetchAndRelease(disk, nameOf('small'), [file('s', 60)]);
    const hold = await disk.hold(nameOf('large'));
    await hold.reserve([file('config', 10)]);
    const error: unknown = await hold.reserve([file('weights', 91)]).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof LoraxError && error.code === 'ADAPTER_TOO_LARGE');
    assert.deepEqual(error.params, { adapterId: 'large', neededBytes: 101, budgetBytes: 100 });
    hold.release();
    await disk.settled();
    assert.deepEqual(idsOf(disk), ['small']);
  });

  it('counts a blob that snapshots share once, and keeps it while one of them needs it', async (context) => {
    const setting = new Setting(context);
    const disk = await setting.open(100);
    const [old, now] = [nameOf('a', COMMITS[0]), nameOf('a', COMMITS[1])];
    const shared = file('tokenizer', 20, 'tokenizer.json');
    await setting.fetchAndRelease(disk, old, [shared, file('w-old', 30)]);
    await setting.fetchAndRelease(disk, now, [shared, file('w-new', 30)]);
    assert.equal(disk.totalBytes, 80);
    await setting.fetchAndRelease(disk, nameOf('b'), [file('w', 30)]);
    assert.deepEqual(
      disk.snapshots().map(({ id, revision }) => `${id}@${revision[0]}`),
      ['a@b', 'b@a'],
    );
    assert.deepEqual(readdirSync(join(setting.cacheDir, 'models--a/blobs')).toSorted(), ['tokenizer', 'w-new']);
    assert.deepEqual(readdirSync(join(setting.cacheDir, 'models--a/snapshots')), [COMMITS[1]]);
  });

  it('leaves alone what Python put there: whole snapshots, single files, links to its own blobs', async (context) => {
    const setting = new Setting(context);
    const repo = join(setting.cacheDir, 'models--a');
    writeFiles(repo, { 'refs/main': COMMITS[0]!, 'blobs/config': 'x'.repeat(10), 'blobs/foreign': 'x'.repeat(50) });
    mkdirSync(join(repo, 'snapshots', COMMITS[0]!, 'nested'), { recursive: true });
    symlinkSync('../../blobs/config', join(repo, 'snapshots', COMMITS[0]!, 'config.json'));
    const disk = await setting.open(100);
    await setting.fetchAndRelease(disk, nameOf('a'), [file('foreign', 50), file('ours', 30)]);
    assert.equal(disk.totalBytes, 30);
    // Python finds our blob under another revision, in a folder of a snapshot, as it makes them.
    mkdirSync(join(repo, 'snapshots', COMMITS[1]!, 'sub'), { recursive: true });
    symlinkSync('../../../blobs/ours', join(repo, 'snapshots', COMMITS[1]!, 'sub/model.safetensors'));
    assert.equal(await disk.remove('hub', 'a'), 30);
    assert.deepEqual(readdirSync(join(repo, 'blobs')).toSorted(), ['config', 'foreign', 'ours']);
    assert.deepEqual(readdirSync(join(repo, 'snapshots', COMMITS[0]!)).toSorted(), [
      'config.json',
      'foreign.safetensors',
      'nested',
    ]);
    assert.equal(readFileSync(join(repo, 'refs/main'), 'utf8'), COMMITS[0]);
  });

  it('counts nothing for what it did not bring', async (context) => {
    const setting = new Setting(context);
    await setting.put(nameOf('a'), [file('w', 500)]);
    const disk = await setting.open(100);
    await setting.fetchAndRelease(disk, nameOf('a'), []);
    await setting.fetchAndRelease(disk, nameOf('a'), [file('w', 500)]);
    assert.deepEqual([disk.totalBytes, disk.snapshots().length, setting.ledgerFiles.length], [0, 0, 0]);
  });

  it('removes an adapter on demand, one revision or all, unless it is held', async (context) => {
    const setting = new Setting(context);
    const disk = await setting.open(1000);
    for (const commit of COMMITS)
      await setting.fetchAndRelease(disk, nameOf('a', commit), [file(`w-${commit[0]}`, 10)]);
    await setting.fetchAndRelease(disk, nameOf('b'), [file('w', 10)]);
    writeFiles(join(setting.cacheDir, 'models--a/refs'), { main: COMMITS[1]!, 'refs/pr/1': COMMITS[2]! });
    assert.equal(await disk.remove('s3', 'a'), 0);
    assert.equal(await disk.remove('hub', 'a', COMMITS[1]), 10);
    assert.deepEqual(readdirSync(join(setting.cacheDir, 'models--a/refs')), ['refs']);
    const hold = await disk.hold(nameOf('a', COMMITS[0]));
    assert.equal(await disk.remove('hub', 'a'), 20);
    assert.deepEqual(
      disk.snapshots().map(({ id, isHeld }) => [id, isHeld]),
      [
        ['a', true],
        ['b', false],
      ],
    );
    hold.release();
    assert.equal(await disk.remove('hub', 'a'), 10);
    assert.ok(!existsSync(join(setting.cacheDir, 'models--a')));
    assert.equal(await disk.remove('hub', 'b'), 10);
    assert.deepEqual(setting.paths, []);
  });

  it('counts what a failed fetch left, and nothing for one that brought nothing', async (context) => {
    const setting = new Setting(context);
    const disk = await setting.open(100);
    const nothing = await disk.hold(nameOf('nothing'));
    await nothing.reserve([file('w', 90)]);
    assert.equal(disk.totalBytes, 90);
    nothing.release();
    await disk.settled();
    assert.deepEqual([disk.totalBytes, setting.ledgerFiles.length], [0, 0]);
    const some = await disk.hold(nameOf('some'));
    await some.reserve([file('w', 90)]);
    writeFiles(join(setting.cacheDir, 'models--some/blobs'), { 'w.0123abcd.incomplete': 'x'.repeat(40) });
    some.release();
    await disk.settled();
    assert.equal(disk.totalBytes, 40);
    await setting.fetchAndRelease(disk, nameOf('other'), [file('o', 61)]);
    assert.deepEqual(
      setting.paths.filter((path) => path.startsWith('models--some')),
      [],
    );
  });

  it('knows after a restart what it brought before, and fits it into a smaller budget', async (context) => {
    const setting = new Setting(context);
    const before = await setting.open(1000);
    for (const id of ['one', 'two', 'three']) await setting.fetchAndRelease(before, nameOf(id), [file('w', 30)]);
    setting.nowMs += 100_000;
    await setting.fetchAndRelease(before, nameOf('one'), []);
    const after = await setting.open(60);
    assert.deepEqual(idsOf(after).toSorted(), ['one', 'three']);
    assert.equal(after.totalBytes, 60);
    assert.deepEqual(await setting.open(60).then(idsOf), idsOf(after));
  });

  it('believes the disk rather than the ledger', async (context) => {
    const setting = new Setting(context);
    const before = await setting.open(1000);
    for (const id of ['gone', 'part'])
      await setting.fetchAndRelease(before, nameOf(id), [file('v', 20), file('w', 30)]);
    const blob = (id: string, name: string): string => join(setting.cacheDir, `models--${id}/blobs`, name);
    for (const path of [blob('gone', 'v'), blob('gone', 'w'), blob('part', 'v')]) rmSync(path);
    const after = await setting.open(1000);
    assert.deepEqual(
      after.snapshots().map(({ id, byteLength }) => [id, byteLength]),
      [['part', 30]],
    );
    assert.equal(setting.ledgerFiles.length, 1);
    assert.ok(!setting.paths.some((path) => path.startsWith('models--gone')));
    const links = readdirSync(join(setting.cacheDir, 'models--part/snapshots', COMMITS[0]!));
    assert.deepEqual(links, ['w.safetensors']);
  });

  it('passes over what is no ledger entry, tells of it, and follows none of its paths', async (context) => {
    const setting = new Setting(context);
    const outside = join(setting.cacheDir, 'precious');
    writeFiles(outside, { 'blobs/w': 'x', 'snapshots/r/w.safetensors': 'x' });
    const first = await setting.open(1000);
    await setting.fetchAndRelease(first, nameOf('a'), [file('w', 30)]);
    const [name = ''] = setting.ledgerFiles;
    const good = JSON.parse(readFileSync(join(setting.cacheDir, '.lorax-adapters', name), 'utf8')) as object;
    const hostile = [
      { ...good, folder: '../precious' },
      { ...good, folder: 'precious/..' },
      { ...good, revision: '..' },
      { ...good, files: [{ name: '../../x', blob: 'w', sizeBytes: 1 }] },
      { ...good, files: [{ name: 'x', blob: '../../../precious/blobs/w', sizeBytes: 1 }] },
      { ...good, files: [{ name: 'x', blob: 'w', sizeBytes: -1 }] },
      { ...good, folder: 'precious', revision: 'r' },
    ];
    writeFiles(join(setting.cacheDir, '.lorax-adapters'), {
      'half.json': '{"source":',
      'killed.json.0123abcd': '{}',
      ...Object.fromEntries(hostile.map((entry, index) => [`${index}.json`, JSON.stringify(entry)])),
    });
    const warned: object[] = [];
    const quiet = (): void => undefined;
    const log = { debug: quiet, info: quiet, warn: (fields: object) => void warned.push(fields) };
    const disk = await setting.open(10, { log });
    assert.deepEqual(idsOf(disk), []);
    assert.equal(warned.length, hostile.length + 1);
    assert.ok(!setting.ledgerFiles.includes('killed.json.0123abcd'));
    assert.ok(statSync(join(outside, 'blobs/w')).isFile());
  });

  it('writes nothing where nothing was brought', async (context) => {
    const setting = new Setting(context);
    const disk = await DiskCache.open({ cacheDir: join(setting.cacheDir, 'not/there'), budgetBytes: 10 });
    (await disk.hold(nameOf('a'))).release();
    await disk.settled();
    assert.deepEqual(setting.paths, []);
  });
});

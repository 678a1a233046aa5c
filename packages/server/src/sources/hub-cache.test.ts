import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { HubCache } from './hub-cache.ts';
import { temporaryFolder, writeFiles } from './testing/temporary-folder.ts';

const COMMIT = 'c'.repeat(40);

describe('HubCache', () => {
  it('keeps refs of branches, also of nested ones, and none of commits', async (context) => {
    const dir = temporaryFolder(context);
    const cache = new HubCache(dir, '00000000');
    for (const revision of ['main', 'refs/pr/1', COMMIT]) await cache.writeRef({ repo: 'org/a', revision }, COMMIT);
    const refs = join(dir, 'models--org--a/refs');
    assert.deepEqual(readdirSync(refs).toSorted(), ['main', 'refs']);
    assert.equal(readFileSync(join(refs, 'refs/pr/1'), 'utf8'), COMMIT);
    for (const revision of ['main', 'refs/pr/1', COMMIT]) {
      assert.equal(await cache.commitOf({ repo: 'org/a', revision }), COMMIT);
    }
    for (const revision of ['other', 'refs', 'main/x']) {
      assert.equal(await cache.commitOf({ repo: 'org/a', revision }), undefined, revision);
    }
  });

  it('does not take a ref for a path', async (context) => {
    const dir = temporaryFolder(context);
    const cache = new HubCache(dir, '00000000');
    for (const content of ['../../elsewhere', '', COMMIT.slice(1), `${COMMIT}/..`]) {
      writeFiles(join(dir, 'models--a/refs'), { main: content });
      assert.equal(await cache.commitOf({ repo: 'a', revision: 'main' }), undefined, content);
    }
  });

  it('counts only files whose content is there', async (context) => {
    const dir = temporaryFolder(context);
    const cache = new HubCache(dir, '00000000');
    assert.deepEqual(await cache.fileNames('a', COMMIT), []);
    await assert.rejects(cache.snapshot('a', COMMIT), { kind: 'missing' });
    writeFiles(join(dir, 'models--a/blobs'), { one: '1', two: '22' });
    await cache.link('a', COMMIT, 'first', 'one');
    await cache.link('a', COMMIT, 'broken', 'three');
    mkdirSync(join(dir, 'models--a/snapshots', COMMIT, 'folder'));
    assert.deepEqual(await cache.fileNames('a', COMMIT), ['first']);
    await cache.link('a', COMMIT, 'first', 'two');
    const snapshot = await cache.snapshot('a', COMMIT);
    assert.equal(readFileSync(join(snapshot, 'first'), 'utf8'), '22');
    assert.deepEqual(readdirSync(snapshot).toSorted(), ['broken', 'first', 'folder']);
    assert.equal(await cache.hasBlob('a', 'two', 2), true);
    assert.equal(await cache.hasBlob('a', 'two', 3), false);
    assert.equal(await cache.hasBlob('a', 'three', 3), false);
  });
});

import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { parseHubId } from './hub-id.ts';

describe('parseHubId', () => {
  it('takes what the Hub takes', () => {
    const commit = '0123456789abcdef0123456789abcdef01234567';
    assert.deepEqual(parseHubId('gpt2'), { repo: 'gpt2', revision: 'main' });
    assert.deepEqual(parseHubId('org/name-1.0_x', 'v2'), { repo: 'org/name-1.0_x', revision: 'v2' });
    assert.deepEqual(parseHubId('org/name@refs/pr/1'), { repo: 'org/name', revision: 'refs/pr/1' });
    assert.deepEqual(parseHubId(`org/name@${commit}`, 'main'), { repo: 'org/name', revision: commit });
  });

  it('takes nothing else', () => {
    const repos = [
      '',
      '/',
      'a/',
      '/a',
      'a/b/c',
      '.a',
      'a.',
      '-a',
      'a-',
      'a--b',
      'a..b',
      '..',
      'a/..',
      'a.git',
      'a b',
      'é',
      'x'.repeat(97),
    ];
    const revisions = [
      '',
      '.',
      '..',
      '/',
      'a/',
      '/a',
      'a//b',
      'a/../b',
      'a/.b',
      'a./b',
      'a..b',
      'x.lock',
      'a@b',
      'a b',
      'a:b',
      'v'.repeat(256),
    ];
    for (const id of [...repos, ...revisions.map((revision) => `org/name@${revision}`)]) {
      assert.equal(parseHubId(id), undefined, id);
    }
  });

  it('lets nothing through that would be another path or URL', () => {
    const piece = fc.oneof(fc.constantFrom('/', '.', '..', '@', '-', '%2e', '?', '#', '\\', '\0', 'a'), fc.string());
    const property = fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const id = parseHubId(pieces.join(''));
      if (id === undefined) return;
      for (const text of [id.repo, id.revision]) {
        assert.equal(posix.normalize(text), text);
        assert.equal(new URL(`https://hub/x/${text}`).pathname, `/x/${text}`);
      }
      assert.ok(!id.repo.replace('/', '--').includes('/'));
    });
    fc.assert(property, { numRuns: 2000 });
  });
});

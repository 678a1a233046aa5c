import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, realpathSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { LoraxError } from '../base/errors.ts';
import { checkContained, locate } from './containment.ts';
import { openLocal } from './local.ts';
import type { Source } from './source.ts';
import { ADAPTER_FILES, describeSource, resolveWith } from './testing/conformance.ts';
import { makeTemporaryFolder, removeFolder, temporaryFolder, writeFiles } from './testing/temporary-folder.ts';

const never = new AbortController().signal;

describeSource('local', async () => {
  const folder = makeTemporaryFolder();
  const root = join(folder, 'adapters');
  mkdirSync(root);
  return {
    source: openLocal(root),
    secrets: [folder, 'adapters/'],
    add: async (id, files) => writeFiles(join(root, id), files),
    dispose: async () => removeFolder(folder),
  };
});

/** `root/adapters` with adapters and links of every kind, and `root/outside` that nobody may see. */
function makeTree(folder: string): string {
  const root = join(folder, 'adapters');
  writeFiles(root, { 'note.txt': 'a file' });
  writeFiles(join(root, 'plain'), ADAPTER_FILES);
  writeFiles(join(root, 'group/deep'), ADAPTER_FILES);
  writeFiles(join(root, 'a/b/too-deep'), ADAPTER_FILES);
  writeFiles(join(folder, 'outside/secret'), ADAPTER_FILES);
  const links: Readonly<Record<string, string>> = {
    within: 'plain',
    'within-absolute': join(root, 'plain'),
    'group/up': '../plain',
    chain: 'within',
    out: '../outside',
    'out-absolute': join(folder, 'outside/secret'),
    'out-dangling': '../nowhere',
    'out-root': '/',
    'out-and-back': '../outside/back',
    dangling: 'nothing',
    self: 'self',
    'circle-a': 'circle-b',
    'circle-b': 'circle-a',
    recursive: '.',
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(root, name));
  symlinkSync(join(root, 'plain'), join(folder, 'outside/back'));
  return root;
}

async function codeOf(source: Source, id: string): Promise<string> {
  try {
    const { folder } = await resolveWith(source, id, { signal: never });
    return `found ${folder}`;
  } catch (error) {
    assert.ok(error instanceof LoraxError, String(error));
    return error.code;
  }
}

describe('openLocal', () => {
  it('takes relative ids, absolute ids inside the root, and links that stay inside', async (context) => {
    const root = makeTree(temporaryFolder(context));
    const source = openLocal(root);
    const plain = `found ${join(root, 'plain')}`;
    for (const id of [
      'plain',
      './plain',
      'plain/',
      'within',
      'within-absolute',
      'group/up',
      'chain',
      'recursive/plain',
    ]) {
      assert.equal(await codeOf(source, id), plain, id);
    }
    assert.equal(await codeOf(source, join(root, 'plain')), plain);
    const { id } = await source.locate(join(root, 'group//deep'), { signal: never });
    assert.equal(id, 'group/deep');
  });

  it('takes absolute ids and links by the name of a root that is itself a link', async (context) => {
    const folder = temporaryFolder(context);
    const root = makeTree(folder);
    const alias = join(folder, 'alias');
    symlinkSync('adapters', alias);
    symlinkSync(join(alias, 'plain'), join(root, 'by-alias'));
    const source = openLocal(alias);
    for (const id of ['plain', 'by-alias', join(alias, 'plain'), join(root, 'plain')]) {
      assert.equal(await codeOf(source, id), `found ${join(root, 'plain')}`, id);
    }
  });

  it('refuses everything that leads out, whether it exists or not', async (context) => {
    const folder = temporaryFolder(context);
    const source = openLocal(makeTree(folder));
    const climbing = ['..', '../outside/secret', '../outside/nothing', 'plain/../plain', '../adapters/plain'];
    const absolute = [
      '/',
      '/etc/passwd',
      join(folder, 'outside/secret'),
      join(folder, 'outside/nothing'),
      `${folder}/adapters-2`,
    ];
    const linked = [
      'out',
      'out/secret',
      'out/nothing',
      'out-absolute',
      'out-dangling',
      'out-dangling/x',
      'out-and-back',
    ];
    const ids = [
      ...climbing,
      ...absolute,
      ...linked,
      'out-root',
      `out-root${folder}/adapters/plain`,
      'recursive/out/x',
    ];
    for (const id of ids) assert.equal(await codeOf(source, id), 'ADAPTER_FORBIDDEN', id);
  });

  it('does not find what is missing inside, circles, and files that are no folders', async (context) => {
    const source = openLocal(makeTree(temporaryFolder(context)));
    const ids = ['nothing', 'plain/nothing', 'dangling', 'self', 'circle-a', 'circle-a/x', 'note.txt', 'note.txt/x'];
    for (const id of [...ids, 'y'.repeat(300), 'plain/adapter_config.json']) {
      assert.equal(await codeOf(source, id), 'ADAPTER_NOT_FOUND', id);
    }
  });

  it('refuses an adapter of which a file leads out, and takes one whose files are links inside', async (context) => {
    const folder = temporaryFolder(context);
    const root = makeTree(folder);
    for (const [name, content] of Object.entries({ ...ADAPTER_FILES, 'tokenizer.json': '{}' })) {
      const adapter = `leak-${name.replaceAll(/\W/g, '-')}`;
      writeFiles(join(root, adapter), { ...ADAPTER_FILES, 'tokenizer.json': '{}' });
      rmSync(join(root, adapter, name));
      writeFiles(join(folder, 'outside'), { [name]: content });
      symlinkSync(`../../outside/${name}`, join(root, adapter, name));
      assert.equal(await codeOf(openLocal(root), adapter), 'ADAPTER_FORBIDDEN', name);
    }
    mkdirSync(join(root, 'linked'));
    for (const name of Object.keys(ADAPTER_FILES)) symlinkSync(`../plain/${name}`, join(root, 'linked', name));
    assert.equal(await codeOf(openLocal(root), 'linked'), `found ${join(root, 'linked')}`);
  });

  it('refuses files that lead nowhere or are no files', async (context) => {
    const root = makeTree(temporaryFolder(context));
    writeFiles(join(root, 'broken'), ADAPTER_FILES);
    symlinkSync('nothing', join(root, 'broken/tokenizer.json'));
    writeFiles(join(root, 'folder'), { ...ADAPTER_FILES, 'tokenizer.json/x': '' });
    writeFiles(join(root, 'pipe'), ADAPTER_FILES);
    execFileSync('mkfifo', [join(root, 'pipe/tokenizer.json')]);
    for (const id of ['broken', 'folder', 'pipe'])
      assert.equal(await codeOf(openLocal(root), id), 'ADAPTER_INVALID', id);
  });

  it('lists adapters up to two levels deep, through links that stay inside', async (context) => {
    const root = makeTree(temporaryFolder(context));
    writeFiles(join(root, 'back\\slash'), ADAPTER_FILES);
    const ids = await openLocal(root).list(never);
    const direct = ['chain', 'group/deep', 'group/up', 'plain', 'within', 'within-absolute'];
    const throughItself = ['chain', 'plain', 'within', 'within-absolute'].map((id) => `recursive/${id}`);
    assert.deepEqual(ids, [...direct, ...throughItself].toSorted());
  });

  it('stops listing when the signal is aborted', async (context) => {
    const source = openLocal(makeTree(temporaryFolder(context)));
    const reason = new Error('enough');
    await assert.rejects(source.list(AbortSignal.abort(reason)), reason);
  });

  it('needs a folder as root', (context) => {
    const folder = temporaryFolder(context);
    writeFiles(folder, { file: '' });
    for (const root of [join(folder, 'missing'), join(folder, 'file')]) {
      assert.throws(() => openLocal(root), { code: 'OPTION_INVALID' });
    }
  });

  it('never resolves a path outside the root, and answers the same whatever is outside', async (context) => {
    const folder = temporaryFolder(context);
    const root = makeTree(folder);
    const source = openLocal(root);
    const outside = join(folder, 'outside');
    const hidden = join(folder, 'hidden');
    const part = fc.oneof(
      fc.constantFrom(
        '.',
        '..',
        '',
        'plain',
        'within',
        'group',
        'up',
        'deep',
        'adapter_config.json',
        'secret',
        'nothing',
      ),
      fc.constantFrom(
        'out',
        'out-absolute',
        'out-dangling',
        'out-root',
        'out-and-back',
        'self',
        'circle-a',
        'recursive',
      ),
      fc.constantFrom('..\\', '\0', '%2e%2e', '~', 'C:', ' ', root.slice(1), outside.slice(1)),
      fc.string({ maxLength: 6, unit: 'binary' }),
    );
    const start = fc.constantFrom('', '', '/', `${root}/`, `${outside}/`, `${root}-2/`, `${root}/../`);
    const id = fc.tuple(start, fc.array(part, { maxLength: 7 })).map(([head, parts]) => head + parts.join('/'));
    const property = fc.asyncProperty(id, async (path) => {
      const answer = await codeOf(source, path);
      if (answer.startsWith('found ')) {
        const found = answer.slice('found '.length);
        assert.ok(found.startsWith(`${root}/`), found);
        assert.equal(found, realpathSync(found));
      }
      renameSync(outside, hidden);
      try {
        assert.equal(await codeOf(source, path), answer);
      } finally {
        renameSync(hidden, outside);
      }
    });
    await fc.assert(property, { numRuns: 400 });
  });
});

describe('checkContained', () => {
  it('looks again at the time of opening', async (context) => {
    const folder = temporaryFolder(context);
    const root = makeTree(folder);
    const resolved = await resolveWith(openLocal(root), 'plain', { signal: never });
    const weights = join(resolved.folder, 'adapter_model.safetensors');
    assert.equal(resolved.root, root);
    assert.equal(await checkContained(root, weights), weights);
    rmSync(weights);
    await assert.rejects(checkContained(root, weights), {
      code: 'FILE_INVALID',
      message: /^adapter_model\.safetensors: /,
    });
    symlinkSync(join(folder, 'outside/secret/adapter_model.safetensors'), weights);
    await assert.rejects(checkContained(root, weights, 'plain'), {
      code: 'ADAPTER_FORBIDDEN',
      message: 'adapter `plain` is not accessible',
    });
  });

  it('agrees with the system about every path that stays inside', async (context) => {
    const root = makeTree(temporaryFolder(context));
    const part = fc.constantFrom(
      'plain',
      'within',
      'chain',
      'group',
      'up',
      'deep',
      'recursive',
      'note.txt',
      'within-absolute',
    );
    const property = fc.asyncProperty(fc.array(part, { maxLength: 5 }), async (parts) => {
      const path = parts.join('/');
      const place = await locate(root, path);
      let expected: string | undefined;
      try {
        expected = realpathSync(join(root, path));
      } catch {
        expected = undefined;
      }
      assert.deepEqual(place, expected === undefined ? { kind: 'missing' } : { kind: 'inside', path: expected });
    });
    await fc.assert(property, { numRuns: 300 });
  });
});

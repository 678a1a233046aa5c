import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';

import { LoraxError } from '../base/errors.ts';
import { openHub } from './hub.ts';
import { type ModelOptions, resolveModel } from './model.ts';
import { FakeHub } from './testing/fake-hub.ts';
import { temporaryFolder, writeFiles } from './testing/temporary-folder.ts';

const MODEL = { 'config.json': '{}', 'model.safetensors': 'weights' };

interface Setting {
  readonly fake: FakeHub;
  readonly folder: string;
  readonly options: ModelOptions;
}

async function setUp(context: TestContext): Promise<Setting> {
  const fake = await FakeHub.start();
  context.after(() => fake.stop());
  const folder = temporaryFolder(context);
  const hub = openHub({ endpoint: fake.endpoint, cacheDir: join(folder, 'cache'), offline: false });
  return { fake, folder, options: { hub, signal: new AbortController().signal } };
}

describe('resolveModel', () => {
  it('prefers a folder with a config.json', async (context) => {
    const { fake, folder, options } = await setUp(context);
    writeFiles(join(folder, 'model'), MODEL);
    const found = await resolveModel(join(folder, 'model/.'), options);
    assert.equal(found.folder, join(folder, 'model'));
    assert.equal(found.revision, undefined);
    assert.deepEqual(fake.seen, []);
  });

  it('goes to the Hub for everything that looks like a repository, with the revision it names', async (context) => {
    const { fake, options } = await setUp(context);
    const commit = fake.publish('org/model', MODEL);
    for (const [id, revision] of [
      ['org/model', undefined],
      ['org/model', commit],
      [`org/model@${commit}`, 'gone'],
    ] as const) {
      const found = await resolveModel(id, { ...options, revision });
      assert.equal(found.revision, commit);
      assert.equal(found.id, 'org/model');
    }
  });

  it('says what both ways came to', async (context) => {
    const { folder, options } = await setUp(context);
    writeFiles(join(folder, 'empty'), {});
    const reason = async (id: string): Promise<string> => {
      const error = await resolveModel(id, options).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof LoraxError && error.code === 'MODEL_NOT_FOUND', String(error));
      return String(error.params['reason']);
    };
    assert.match(await reason(join(folder, 'nothing')), /no folder of this name, and it is no Hub repository id/);
    assert.match(await reason(join(folder, 'empty')), /holds no config\.json, and it is no Hub repository id/);
    assert.match(await reason('org/nothing'), /no folder of this name, and as a Hub repository: .*404/);
    assert.match(await reason(''), /no Hub repository id/);
  });

  it('passes on why a repository cannot be served, and the reason of an abort', async (context) => {
    const { fake, options } = await setUp(context);
    fake.publish('org/pickles', { 'config.json': '{}', 'pytorch_model.bin': 'x' });
    await assert.rejects(resolveModel('org/pickles', options), { code: 'MODEL_INVALID' });
    const reason = new Error('stop');
    await assert.rejects(resolveModel('org/pickles', { ...options, signal: AbortSignal.abort(reason) }), reason);
  });
});

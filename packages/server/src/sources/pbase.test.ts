import assert from 'node:assert/strict';
import { type TestContext, after, describe, it } from 'node:test';

import { openPbase } from './pbase.ts';
import type { Source } from './source.ts';
import { ADAPTER_FILES, type Found, resolveWith } from './testing/conformance.ts';
import { FakeS3 } from './testing/fake-s3.ts';
import { MODELS, PbaseSetting } from './testing/pbase-setting.ts';
import { describePbase, never, resolve, thrownBy } from './testing/s3-suite.ts';

const fake = FakeS3.start();
after(async () => (await fake).stop());

describePbase(() => fake);

async function setUp(context: TestContext): Promise<PbaseSetting> {
  const setting = await PbaseSetting.start(await fake);
  context.after(() => setting.stop());
  return setting;
}

function resolveAs(source: Source, id: string, apiToken: string): Promise<Found> {
  return resolveWith(source, id, { signal: never, apiToken });
}

describe('the token of a request', () => {
  it('goes to the gateway, the operator’s where it brings none, and neither goes to S3', async (context) => {
    const setting = await setUp(context);
    await setting.publish('mine/1', ADAPTER_FILES, 'pb_caller');
    await setting.publish('ours/1', ADAPTER_FILES, 'pb_operator');
    const source = setting.open({ token: 'pb_operator' });
    await resolveAs(source, 'mine/1', 'pb_caller');
    await resolve(source, 'ours/1');
    assert.equal((await thrownBy(resolve(source, 'mine/1'))).code, 'ADAPTER_FORBIDDEN');
    assert.equal((await thrownBy(resolveAs(source, 'ours/1', 'pb_caller'))).code, 'ADAPTER_FORBIDDEN');
    const sent = setting.proxy.requests.map(({ headers }) => headers.authorization);
    assert.deepEqual(new Set(sent), new Set(['Bearer pb_caller', 'Bearer pb_operator']));
    for (const { path, headers } of setting.s3.proxy.requests) {
      assert.match(headers.authorization ?? '', /^AWS4-HMAC-SHA256 /);
      assert.ok(!JSON.stringify([path, headers]).includes('pb_'));
    }
  });

  it('is refused where it could not be sent', async (context) => {
    const setting = await setUp(context);
    assert.equal((await thrownBy(resolveAs(setting.open(), 'mine/1', 'a b'))).code, 'VALIDATION');
    assert.throws(() => setting.open({ token: 'pb_secret\n' }), {
      code: 'OPTION_INVALID',
      message: /^((?!secret).)*$/s,
    });
  });
});

describe('a version', () => {
  const weights = { adapterPath: 'version/weights' };

  it('is used in the states that leave weights behind, and in no others', async (context) => {
    const setting = await setUp(context);
    await setting.s3.publish(`${MODELS}/team/version/weights`, ADAPTER_FILES);
    const source = setting.open();
    for (const status of ['completed', 'errored', 'canceled', 'stopped', 'training']) {
      setting.gateway.addVersion('states', '1', { ...weights, status });
      assert.equal((await resolve(source, 'states/1')).id, 'states/1');
    }
    for (const status of ['pending', 'queued', 'stopping', 'something new']) {
      setting.gateway.addVersion('states', '1', { ...weights, status });
      const error = await thrownBy(resolve(source, 'states/1'));
      assert.equal(error.code, 'ADAPTER_NOT_READY');
      assert.equal(error.message, `adapter \`states/1\` is not ready: its status is ${status}`);
    }
    for (const adapterPath of [undefined, null, '']) {
      setting.gateway.addVersion('states', '1', { adapterPath, status: 'training' });
      assert.match((await thrownBy(resolve(source, 'states/1'))).message, /training, and it has no weights yet$/);
    }
  });

  it('is asked for by the older route where the newer one does not know it, and so is the latest', async (context) => {
    const setting = await setUp(context);
    const found = (run: string): object => ({ uuid: 'u-1', bestRunID: run });
    for (const run of ['run-1', 'run-2']) {
      await setting.s3.publish(`${MODELS}/team/u-1/${run}/artifacts/model/model_weights`, ADAPTER_FILES);
    }
    setting.gateway.addLegacy('old', '?version=1', found('run-1'));
    setting.gateway.addLegacy('old', '', found('run-2'));
    const source = setting.open();
    const [first, latest] = [await resolve(source, 'old/1'), await resolve(source, 'old')];
    assert.deepEqual([first.id, latest.id], ['old/1', 'old']);
    assert.notEqual(first.folder, latest.folder);
    const legacy = '/v1/models/version/name/old';
    assert.deepEqual(setting.proxy.seen, ['GET /v2/repos/old/version/1', `GET ${legacy}?version=1`, `GET ${legacy}`]);
    setting.gateway.addLegacy('old', '', { uuid: 'u-1', bestRunID: null });
    assert.equal((await thrownBy(resolve(source, 'old'))).code, 'ADAPTER_NOT_READY');
  });

  it('stays one part of the URL, whatever its name', async (context) => {
    const setting = await setUp(context);
    await resolve(setting.open(), 'a?b#c ü%2f/1&x=..').catch(() => undefined);
    const repo = 'a%3Fb%23c%20%C3%BC%252f';
    assert.deepEqual(setting.proxy.seen, [
      `GET /v2/repos/${repo}/version/1%26x%3D..`,
      `GET /v1/models/version/name/${repo}?version=1%26x%3D..`,
    ]);
    for (const id of ['a/b/c', '/a', 'a/', '..', 'a/..', './a', 'x'.repeat(257)]) {
      assert.equal((await thrownBy(resolve(setting.open(), id))).code, 'VALIDATION', id);
    }
  });
});

describe('the gateway', () => {
  it('is not believed', async (context) => {
    const setting = await setUp(context);
    const bodies = [
      'text',
      [],
      {},
      { adapterPath: 'a' },
      { adapterPath: 7, status: 'completed' },
      { adapterPath: 'a', status: '<script>' },
      { adapterPath: '../other', status: 'completed' },
      { adapterPath: 's3://x', status: 'completed' },
      { adapterPath: 'a\0b', status: 'completed' },
      { adapterPath: 'x'.repeat(5000), status: 'completed' },
      { adapterPath: 'a', status: 'completed', padding: 'x'.repeat(2 << 20) },
    ];
    for (const body of bodies) {
      setting.gateway.addVersion('odd', '1', body);
      const error = await thrownBy(resolve(setting.open(), 'odd/1'));
      assert.equal(error.code, 'ADAPTER_UNREACHABLE', JSON.stringify(body).slice(0, 100));
    }
    setting.gateway.addLegacy('odd', '', { uuid: '../..', bestRunID: 'x' });
    assert.equal((await thrownBy(resolve(setting.open(), 'odd'))).code, 'ADAPTER_UNREACHABLE');
    assert.deepEqual(setting.s3.proxy.seen, []);
  });

  it('is asked again when it fails, and never somewhere else', async (context) => {
    const setting = await setUp(context);
    await setting.publish('shaky/1', ADAPTER_FILES, 'pb_token');
    const source = setting.open({ token: 'pb_token' });
    setting.proxy.fail(/./, { status: 503, headers: { 'retry-after': '0' } }, 2);
    await resolve(source, 'shaky/1');
    const headers = { location: setting.s3.proxy.endpoint };
    const before = setting.s3.proxy.requests.length;
    setting.proxy.fail(/./, { status: 302, headers });
    const error = await thrownBy(resolve(source, 'shaky/1'));
    assert.match(error.message, /the Predibase gateway answered with status 302$/);
    assert.equal(setting.s3.proxy.requests.length, before);
  });

  it('is of no use without a bucket, and that is said', async (context) => {
    const setting = await setUp(context);
    const source = openPbase({ gateway: setting.proxy.endpoint, token: undefined, s3: setting.s3.open() });
    const error = await thrownBy(resolve(source, 'a/1'));
    assert.equal(error.code, 'VALIDATION');
    assert.match(error.message, /^`adapter_source` `pbase` needs .*PREDIBASE_MODEL_BUCKET/);
  });
});

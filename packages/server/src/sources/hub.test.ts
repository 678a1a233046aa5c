import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import type { LoraxError } from '../base/errors.ts';
import { DiskCache } from './disk-cache.ts';
import { type Hub, type HubOptions, openHub } from './hub.ts';
import type { FetchProgress } from './source.ts';
import { type FixtureNetwork, describeSource } from './testing/conformance.ts';
import { FakeHub } from './testing/fake-hub.ts';
import {
  ON_WEIGHTS,
  QUICK,
  WEIGHTS,
  adapterWith,
  blobs,
  never,
  resolve,
  setUpHub,
  sha256,
  thrownBy,
} from './testing/hub-setting.ts';
import { makeTemporaryFolder, removeFolder, writeFiles } from './testing/temporary-folder.ts';

describeSource('hub', async () => {
  const fake = await FakeHub.start();
  const cacheDir = makeTemporaryFolder();
  const disk = await DiskCache.open({ cacheDir, budgetBytes: 1 << 30 });
  const open = (): Hub => openHub({ endpoint: fake.endpoint, cacheDir, offline: false, retries: QUICK, disk });
  return {
    source: open(),
    secrets: [cacheDir, fake.endpoint, 'signature', 'hf_right', 'another-token'],
    add: async (id, files) => void fake.publish(id, files),
    access: {
      token: 'hf_right',
      addPrivate: async (id, files) => void fake.publish(id, files, { tokens: ['hf_right'] }),
    },
    network: fakeNetwork(fake, open),
    dispose: async () => {
      await fake.stop();
      await disk.settled();
      removeFolder(cacheDir);
    },
  };
});

function fakeNetwork(fake: FakeHub, open: () => Hub): FixtureNetwork {
  return {
    goDown: async () => {
      fake.isDown = true;
      return async () => void (fake.isDown = false);
    },
    stallWeights: (stallAfterBytes) => fake.trouble({ on: ON_WEIGHTS, stallAfterBytes }),
    cutStalled: () => fake.cutStalled(),
    weightTransfers: () =>
      fake.requests
        .filter(({ method, path }) => ON_WEIGHTS.test(`${method} ${path}`))
        .map(({ range }) => Number(/\d+/.exec(range ?? '')?.[0] ?? 0)),
    openAnother: async () => open(),
  };
}

describe('the Hub cache', () => {
  it('has the layout that Python reads', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    const commit = fake.publish('org/a', adapterWith());
    const { folder, revision, root } = await resolve(hub);
    const repo = join(cacheDir, 'models--org--a');
    assert.equal(revision, commit);
    assert.equal(root, undefined);
    assert.equal(folder, join(repo, 'snapshots', commit));
    assert.equal(readFileSync(join(repo, 'refs/main'), 'utf8'), commit);
    assert.ok(lstatSync(join(folder, WEIGHTS)).isSymbolicLink());
    assert.equal(readlinkSync(join(folder, WEIGHTS)), `../../blobs/${sha256('weights')}`);
    assert.match(readlinkSync(join(folder, 'adapter_config.json')), /^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    assert.equal(blobs(cacheDir).length, 2);
    assert.deepEqual(readdirSync(folder).toSorted(), ['adapter_config.json', WEIGHTS]);
  });

  it('serves without a network what Python left in it, blobs in a shared store too', async (context) => {
    const { fake, cacheDir, open } = await setUpHub(context);
    const commit = 'a'.repeat(40);
    const repo = join(cacheDir, 'models--org--a');
    writeFiles(repo, { 'refs/main': commit, 'refs/refs/pr/1': commit, 'blobs/config': '{}' });
    writeFiles(join(cacheDir, 'blobs'), { shared: 'weights' });
    symlinkSync('../../blobs/shared', join(repo, 'blobs/weights'));
    mkdirSync(join(repo, 'snapshots', commit), { recursive: true });
    symlinkSync('../../blobs/config', join(repo, 'snapshots', commit, 'adapter_config.json'));
    symlinkSync('../../blobs/weights', join(repo, 'snapshots', commit, WEIGHTS));
    const offline = open({ offline: true });
    for (const id of ['org/a', 'org/a@main', 'org/a@refs/pr/1', `org/a@${commit}`]) {
      const { folder, revision } = await resolve(offline, id);
      assert.equal(revision, commit);
      assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'weights');
    }
    assert.deepEqual(fake.seen, []);
  });

  it('does not serve a snapshot that lacks files, offline or by commit', async (context) => {
    const { fake, cacheDir, open } = await setUpHub(context);
    const commit = fake.publish('org/a', adapterWith());
    await resolve(open());
    rmSync(join(cacheDir, 'models--org--a/blobs', sha256('weights')));
    assert.equal((await thrownBy(resolve(open({ offline: true })))).code, 'ADAPTER_NOT_FOUND');
    const { folder } = await resolve(open(), `org/a@${commit}`);
    assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'weights');
  });

  it('asks again for a branch and fetches only what changed', async (context) => {
    const { fake, hub } = await setUpHub(context);
    const first = fake.publish('org/a', adapterWith('first'));
    await resolve(hub);
    const second = fake.publish('org/a', adapterWith('second'));
    fake.requests.length = 0;
    const { folder, revision } = await resolve(hub);
    assert.notEqual(first, second);
    assert.equal(revision, second);
    assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'second');
    const gets = fake.requests.filter(({ method, at }) => method === 'GET' && at === 'hub').map(({ path }) => path);
    assert.deepEqual(gets, ['/api/models/org/a/revision/main', `/org/a/resolve/${second}/${WEIGHTS}`]);
    fake.requests.length = 0;
    await resolve(hub);
    const cached = ['GET /api/models/org/a/revision/main', `HEAD /org/a/resolve/${second}/adapter_config.json`];
    assert.deepEqual(
      fake.seen,
      cached.map((line) => `hub ${line}`),
    );
  });

  it('takes a revision in the id', async (context) => {
    const { fake, hub } = await setUpHub(context);
    const commit = fake.publish('org/a', adapterWith());
    assert.equal((await resolve(hub, `org/a@${commit}`)).revision, commit);
    assert.equal((await resolve(hub, 'org/a@main')).revision, commit);
    assert.equal((await thrownBy(resolve(hub, 'org/a@../main'))).code, 'VALIDATION');
    assert.equal((await thrownBy(resolve(hub, 'org/a@other'))).code, 'ADAPTER_NOT_FOUND');
  });

  it('fetches an adapter’s files and no others', async (context) => {
    const { fake, hub } = await setUpHub(context);
    const wanted = { ...adapterWith(), 'config.json': '{}', 'tokenizer.json': '{}', 'chat_template.jinja': '' };
    const unwanted = [
      'adapter_model.bin',
      'model.safetensors',
      'training_args.safetensors',
      'optimizer.pt',
      'README.md',
    ];
    const hostile = ['../x.safetensors', 'sub/adapter_model.safetensors', '/etc/x.safetensors', '.x.safetensors'];
    fake.publish('org/a', { ...wanted, ...Object.fromEntries([...unwanted, ...hostile].map((name) => [name, 'x'])) });
    const { folder } = await resolve(hub);
    assert.deepEqual(readdirSync(folder).toSorted(), Object.keys(wanted).toSorted());
  });

  it('takes no repository with more files than an adapter has', async (context) => {
    const { fake, hub } = await setUpHub(context);
    const names = Array.from({ length: 1001 }, (_, index) => `adapter_model_${index}.safetensors`);
    fake.publish('org/a', { ...adapterWith(), ...Object.fromEntries(names.map((name) => [name, 'x'])) });
    assert.match((await thrownBy(resolve(hub))).message, /more than 1000 files/);
  });

  it('does not fetch the weights of a whole model that is named as an adapter', async (context) => {
    const { fake, hub } = await setUpHub(context);
    fake.publish('org/a', { 'config.json': '{"model_type":"llama"}', 'model.safetensors': 'weights' });
    assert.equal((await thrownBy(resolve(hub))).code, 'ADAPTER_INVALID');
    assert.ok(!fake.seen.some((line) => line.includes('model.safetensors')));
  });
});

describe('access to the Hub', () => {
  it('gives a private adapter to its token only, also when it is cached', async (context) => {
    const { fake, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith(), { tokens: ['right'] });
    const codes = async (): Promise<readonly string[]> => [
      (await thrownBy(resolve(hub))).code,
      (await thrownBy(resolve(hub, 'org/a', { apiToken: 'wrong' }))).code,
    ];
    assert.deepEqual(await codes(), ['ADAPTER_FORBIDDEN', 'ADAPTER_FORBIDDEN']);
    await resolve(hub, 'org/a', { apiToken: 'right' });
    assert.deepEqual(await codes(), ['ADAPTER_FORBIDDEN', 'ADAPTER_FORBIDDEN']);
  });

  it('asks for a file of a gated adapter even when it is cached', async (context) => {
    const { fake, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith(), { tokens: ['right'], gated: true });
    await resolve(hub, 'org/a', { apiToken: 'right' });
    assert.equal((await thrownBy(resolve(hub, 'org/a', { apiToken: 'wrong' }))).code, 'ADAPTER_FORBIDDEN');
  });

  it('sends a token to the Hub’s own origin only, and never the operator’s for an adapter', async (context) => {
    const { fake, open } = await setUpHub(context);
    fake.publish('org/a', adapterWith(), { tokens: ['hf_callers'] });
    await resolve(open({ token: 'hf_operators' }), 'org/a', { apiToken: 'hf_callers' });
    const sentTo = (at: string): readonly unknown[] => [
      ...new Set(fake.requests.filter((request) => request.at === at).map(({ authorization }) => authorization)),
    ];
    assert.deepEqual(sentTo('hub'), ['Bearer hf_callers']);
    assert.deepEqual(sentTo('cdn'), [undefined]);
    await thrownBy(resolve(open({ token: 'hf_callers' })));
    assert.equal(fake.requests.at(-1)?.authorization, undefined);
  });

  it('names no token, URL or folder in an error', async (context) => {
    const { fake, cacheDir, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith(), { tokens: ['hf_secret'] });
    for (const status of [401, 403, 404, 418, 500]) {
      fake.trouble({ on: ON_WEIGHTS, times: 3, status });
      const error = await thrownBy(resolve(hub, 'org/a', { apiToken: 'hf_secret' }));
      for (const secret of ['hf_secret', 'signature', fake.endpoint, cacheDir]) {
        assert.ok(!`${error.message} ${String(error.cause)}`.includes(secret), error.message);
      }
    }
    const broken = await thrownBy(resolve(hub, 'org/a', { apiToken: 'hf_secret\nx: y' }));
    assert.equal(broken.code, 'VALIDATION');
    assert.ok(!broken.message.includes('hf_secret'));
    assert.throws(() => openHub({ cacheDir, offline: false, token: 'hf_secret\n' }), { code: 'OPTION_INVALID' });
  });

  it('does not follow redirects to the network behind the server', async (context) => {
    const { fake, cacheDir } = await setUpHub(context);
    const commit = fake.publish('org/a', adapterWith());
    const real = globalThis.fetch;
    const called: string[] = [];
    // Stands for a public Hub at an address reserved for examples; requests to it reach the fake one.
    context.mock.method(globalThis, 'fetch', (input: URL, init: RequestInit) => {
      called.push(input.host);
      return real(new URL(input.pathname, fake.endpoint), init);
    });
    const hub = openHub({ endpoint: 'http://203.0.113.1', cacheDir, offline: false, retries: QUICK });
    const targets = ['http://169.254.169.254/latest', 'http://127.0.0.1/x', 'http://[::1]/x', 'http://10.1.2.3/x'];
    for (const location of [...targets, 'http://2130706433/x', 'http://[::ffff:127.0.0.1]/', 'file:///etc/passwd']) {
      fake.trouble({ on: new RegExp(`${commit}/adapter_config`), status: 302, headers: { location } });
      const error = await thrownBy(resolve(hub));
      assert.equal(error.code, 'ADAPTER_UNREACHABLE', location);
      assert.match(error.message, /redirect/);
    }
    assert.deepEqual([...new Set(called)], ['203.0.113.1']);
  });

  it('gives up a circle of redirects', async (context) => {
    const { fake, hub } = await setUpHub(context);
    fake.publish('org/a', adapterWith());
    fake.trouble({
      on: /api\/models/,
      times: 100,
      status: 307,
      headers: { location: '/api/models/org/a/revision/main' },
    });
    assert.match((await thrownBy(resolve(hub))).message, /redirected more than/);
  });

  it('follows a repository that was renamed', async (context) => {
    const { fake, hub } = await setUpHub(context);
    const commit = fake.publish('org/new', adapterWith());
    const moves = { '/api/models/org/a/revision/main': '/api/models/org/new/revision/main' };
    for (const [from, location] of Object.entries(moves))
      fake.trouble({ on: new RegExp(from), status: 307, headers: { location } });
    for (const name of ['adapter_config.json', WEIGHTS]) {
      const location = `/org/new/resolve/${commit}/${name}`;
      fake.trouble({
        on: new RegExp(`/org/a/resolve/${commit}/${name}`),
        times: 2,
        status: 307,
        headers: { location },
      });
    }
    const { folder } = await resolve(hub);
    assert.equal(readFileSync(join(folder, WEIGHTS), 'utf8'), 'weights');
  });

  it('says that the Hub cannot be reached', async (context) => {
    const { fake, hub } = await setUpHub(context);
    await fake.stop();
    const error = await thrownBy(resolve(hub));
    assert.equal(error.code, 'ADAPTER_UNREACHABLE');
    assert.match(error.message, /ECONNREFUSED/);
  });

  it('does not trust what the Hub says', async (context) => {
    const { fake, hub } = await setUpHub(context);
    const commit = fake.publish('org/a', adapterWith());
    const etag = { etag: '"../../../x"', 'content-length': '3' };
    fake.trouble({ on: /HEAD .*adapter_config/, status: 200, headers: etag });
    assert.match((await thrownBy(resolve(hub))).message, /no usable identity/);
    fake.trouble({ on: /HEAD .*adapter_config/, status: 200, headers: { etag: '"x"' } });
    assert.match((await thrownBy(resolve(hub))).message, /no usable identity/);
    fake.trouble({ on: /api\/models/, status: 200 });
    assert.match((await thrownBy(resolve(hub))).message, /not JSON/);
    assert.equal((await resolve(hub)).revision, commit);
  });
});

describe('fetchModel', () => {
  const model = {
    'config.json': '{}',
    'generation_config.json': '{}',
    'tokenizer.json': '{}',
    'model.safetensors.index.json': '{}',
    'model-00001-of-00002.safetensors': 'a'.repeat(100_000),
    'model-00002-of-00002.safetensors': 'b'.repeat(200_000),
  };
  const extra = {
    'pytorch_model.bin': 'x',
    'model.gguf': 'x',
    'x.pth': 'x',
    'consolidated.safetensors': 'x',
    'a.md': '',
  };

  it('fetches a base model with the operator’s token and tells how far it is', async (context) => {
    const { fake, open } = await setUpHub(context);
    const commit = fake.publish('org/base', { ...model, ...extra }, { tokens: ['hf_op'] });
    const hub = open({ token: 'hf_op' });
    const progress: FetchProgress[] = [];
    const options = { signal: never, onProgress: (now: FetchProgress) => void progress.push(now) };
    const { folder, revision } = await hub.fetchModel('org/base', undefined, options);
    assert.equal(revision, commit);
    assert.deepEqual(readdirSync(folder).toSorted(), Object.keys(model).toSorted());
    const totalBytes = Object.values(model).reduce((sum, content) => sum + content.length, 0);
    assert.ok(progress.every((now) => now.totalBytes === totalBytes && now.receivedBytes <= totalBytes));
    assert.equal(progress.at(-1)?.receivedBytes, totalBytes);
    fake.requests.length = 0;
    await hub.fetchModel('org/base', commit, { signal: never });
    await open({ offline: true }).fetchModel('org/base', 'main', { signal: never });
    assert.deepEqual(fake.seen, []);
  });

  it('says why a model cannot be had', async (context) => {
    const { fake, open } = await setUpHub(context);
    fake.publish('org/base', model, { tokens: ['hf_op'] });
    fake.publish('org/pickles', { 'config.json': '{}', 'pytorch_model.bin': 'x' });
    fake.publish('org/text', { 'README.md': '' });
    const fails = (id: string, options: Partial<HubOptions> = {}): Promise<LoraxError> =>
      thrownBy(open(options).fetchModel(id, undefined, { signal: never }));
    assert.match((await fails('org/base')).message, /^model `org\/base`: .*401.*HF_TOKEN/);
    assert.match((await fails('org/none')).message, /^model `org\/none`: .*404/);
    assert.match((await fails('org/none', { offline: true })).message, /offline/);
    assert.match((await fails('org/none', { endpoint: 'http://127.0.0.1:1' })).message, /connection/);
    assert.match((await fails('org/pickles')).message, /safetensors/);
    assert.match((await fails('org/text')).message, /config\.json/);
    assert.equal((await fails('not a repo')).code, 'MODEL_NOT_FOUND');
  });

  it('stops when it is aborted, without waiting for pauses between tries', async (context) => {
    const { fake, open } = await setUpHub(context);
    fake.publish('org/base', model);
    fake.trouble({ on: /HEAD/, times: 100, status: 503, headers: { 'retry-after': '60' } });
    const reason = new Error('stop');
    const stop = new AbortController();
    const work = open().fetchModel('org/base', undefined, { signal: stop.signal });
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(work, reason);
  });
});

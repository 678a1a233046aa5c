import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { json, testApp } from './testdata/client.ts';

const LOAD = '/v1/load_lora_adapter';
const UNLOAD = '/v1/unload_lora_adapter';

const opened = () => testApp({}, { adapterApi: true });

const errorOf = async (response: Response | Promise<Response>) =>
  ((await json(response)) as { error: { message: string; type: string; param: string | null; code: number } }).error;

test('load and unload answer in vLLM’s words, and the name is served in between', async () => {
  const { adapters, app, generator, post } = opened();
  const loaded = await post(LOAD, { lora_name: 'sql', lora_path: 'org/sql-lora' });
  assert.equal(loaded.status, 200);
  assert.match(loaded.headers.get('content-type') ?? '', /^text\/plain/);
  assert.equal(await loaded.text(), "Success: LoRA adapter 'sql' added successfully.");
  assert.deepEqual(adapters.loads[0]?.load, {
    reference: { id: 'org/sql-lora', source: 'hub' },
    name: 'sql',
    pin: false,
  });
  const model = (await json(app.request('/v1/models/sql'))) as { parent: string; root: string };
  assert.deepEqual([model.parent, model.root], ['demo/base', 'org/sql-lora']);
  assert.equal((await post('/v1/completions', { model: 'sql', prompt: 'a' })).status, 200);
  assert.deepEqual(generator.calls[0]?.request.adapter, { id: 'org/sql-lora', source: 'hub' });
  const unloaded = await post(UNLOAD, { lora_name: 'sql', lora_int_id: 3 });
  assert.equal(unloaded.status, 200);
  assert.equal(await unloaded.text(), "Success: LoRA adapter 'sql' removed successfully.");
  assert.equal((await app.request('/v1/models/sql')).status, 404);
});

test('a path is local where absolute, an address on s3, and else an id on the Hub', async () => {
  const { adapters, post } = opened();
  const paths = ['/srv/adapters/poet', 's3://bucket/poet', 'org/poet@v2'];
  for (const [index, lora_path] of paths.entries()) await post(LOAD, { lora_name: `name-${index}`, lora_path });
  assert.deepEqual(
    adapters.loads.map(({ load }) => load.reference),
    [
      { id: '/srv/adapters/poet', source: 'local' },
      { id: 's3://bucket/poet', source: 's3' },
      { id: 'org/poet@v2', source: 'hub' },
    ],
  );
});

test('a local adapter may be named as its folder is', async () => {
  const { adapters, post } = opened();
  adapters.put({ id: 'poet', source: 'local' });
  assert.equal((await post(LOAD, { lora_name: 'poet', lora_path: '/srv/adapters/poet' })).status, 200);
  const other = await post(LOAD, { lora_name: 'org/poet', lora_path: '/srv/adapters/evil' });
  assert.equal((await errorOf(other)).message, '`lora_name` is the id of another adapter');
});

test('the token is the request’s, as everywhere', async () => {
  const { adapters, post } = opened();
  await post(LOAD, { lora_name: 'a', lora_path: 'org/a' }, { 'x-adapter-token': 'mine' });
  assert.equal(adapters.loads[0]?.load.reference.apiToken, 'mine');
});

test('a name that is taken moves only where the caller says so', async () => {
  const { adapters, post } = opened();
  assert.equal((await post(LOAD, { lora_name: 'a', lora_path: 'org/one' })).status, 200);
  for (const lora_path of ['org/one', 'org/two']) {
    const error = await errorOf(post(LOAD, { lora_name: 'a', lora_path, load_inplace: false }));
    assert.deepEqual([error.type, error.code, error.param], ['InvalidUserInput', 400, 'lora_name']);
    assert.match(error.message, /has already been loaded; set `load_inplace`/);
  }
  assert.equal((await post(LOAD, { lora_name: 'a', lora_path: 'org/two', load_inplace: true })).status, 200);
  assert.equal(adapters.resolveName('a')?.id, 'org/two');
  assert.deepEqual(
    adapters.loads.map(({ load }) => load.moveName),
    [undefined, true],
  );
});

test('of two loads of one new name at once, one has it', async () => {
  const { adapters, post } = opened();
  let finish = (): void => undefined;
  const loaded = new Promise<void>((resolve) => (finish = resolve));
  adapters.onLoad = () => loaded;
  const both = ['org/one', 'org/two'].map((lora_path) => post(LOAD, { lora_name: 'a', lora_path }));
  const first = await Promise.race(both);
  assert.equal(first.status, 400);
  finish();
  const statuses = (await Promise.all(both)).map(({ status }) => status);
  assert.deepEqual(
    statuses.toSorted((a, b) => a - b),
    [200, 400],
  );
  assert.equal(adapters.loads.length, 1);
});

test('a load that failed leaves its name free', async () => {
  const { adapters, post } = opened();
  adapters.onLoad = () => Promise.reject(new LoraxError('ADAPTER_INVALID', { adapterId: 'x', reason: 'rank 9000' }));
  const error = await errorOf(post(LOAD, { lora_name: 'a', lora_path: 'org/one' }));
  assert.deepEqual([error.type, error.code], ['BadRequestError', 400]);
  adapters.onLoad = () => undefined;
  assert.equal((await post(LOAD, { lora_name: 'a', lora_path: 'org/one' })).status, 200);
});

test('failures have vLLM’s form, and 400 where it has no 422', async () => {
  const { adapters, post } = opened();
  const failures = [
    [new LoraxError('ADAPTER_NOT_FOUND', { adapterId: 'x', source: 'hub' }), 404, 'NotFoundError'],
    [new LoraxError('ADAPTER_FORBIDDEN', { adapterId: 'x' }), 403, 'BadRequestError'],
    [new LoraxError('ADAPTER_UNREACHABLE', { adapterId: 'x', reason: 'no answer' }), 503, 'InternalServerError'],
    [new Error('secret /etc/path'), 500, 'InternalServerError'],
  ] as const;
  for (const [thrown, status, type] of failures) {
    adapters.onLoad = () => Promise.reject(thrown);
    const response = await post(LOAD, { lora_name: 'a', lora_path: 'org/x' });
    assert.equal(response.status, status);
    const error = await errorOf(response);
    assert.deepEqual([error.type, error.code], [type, status]);
    assert.ok(!error.message.includes('secret'));
  }
});

test('bad bodies are 400, unknown names 404', async () => {
  const { adapters, post } = opened();
  const rejected: readonly (readonly [path: string, body: object, field: string])[] = [
    [LOAD, {}, 'lora_name'],
    [LOAD, { lora_name: 'a' }, 'lora_path'],
    [LOAD, { lora_name: '', lora_path: 'b' }, 'lora_name'],
    [LOAD, { lora_name: 'a', lora_path: '' }, 'lora_path'],
    [LOAD, { lora_name: 'a', lora_path: 'b\u0000' }, 'lora_path'],
    [LOAD, { lora_name: 'a', lora_path: 'b', load_inplace: 'x' }, 'load_inplace'],
    [LOAD, { lora_name: 'demo/base', lora_path: 'b' }, 'lora_name'],
    [UNLOAD, {}, 'lora_name'],
  ];
  for (const [path, body, field] of rejected) {
    const response = await post(path, body);
    assert.equal(response.status, 400, JSON.stringify(body));
    const error = await errorOf(response);
    assert.deepEqual([error.type, error.param, error.code], ['InvalidUserInput', field, 400]);
  }
  assert.equal((await post(LOAD, 'nonsense')).status, 400);
  assert.equal((await post(LOAD, { lora_name: 'a', lora_path: 'b' }, { 'content-type': 'text/plain' })).status, 415);
  assert.equal((await post(LOAD, { lora_name: 'x'.repeat(70_000), lora_path: 'b' })).status, 413);
  adapters.put({ id: 'org/poet', source: 'hub' });
  for (const lora_name of ['nobody', 'org/poet']) {
    assert.deepEqual((await errorOf(post(UNLOAD, { lora_name }))).type, 'NotFoundError');
  }
  assert.deepEqual([adapters.loads.length, adapters.unloads.length], [0, 0]);
});

test('one of two names of an adapter goes without the other', async () => {
  const { adapters, post } = opened();
  adapters.put({ id: 'org/poet', source: 'hub', names: ['bard', 'scop'] });
  assert.equal((await post(UNLOAD, { lora_name: 'bard' })).status, 200);
  assert.deepEqual(adapters.unloads, [['bard', undefined]]);
  assert.deepEqual(adapters.find('org/poet')?.names, ['scop']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LoadReport } from '../adapters/load-report.ts';
import { LoraxError } from '../base/errors.ts';
import { Keyring } from './keys.ts';
import { json, testApp } from './testdata/client.ts';

const NOTES = { count: 0, first: [] };
const REPORT: LoadReport = {
  adapterId: 'org/poet',
  strict: true,
  baseModel: { verdict: 'same', reason: 'by name' },
  modules: [
    {
      path: 'model.layers.0.q_proj',
      kind: 'linear',
      rank: 8,
      scale: 2,
      dora: false,
      loraBias: false,
      replacesWeight: false,
      replacesBias: false,
    },
  ],
  tensors: {
    usedCount: 2,
    unused: { count: 1, first: [{ tensor: 'aB', reason: 'cD' }] },
    missing: NOTES,
    faults: NOTES,
  },
  ignoredConfigFields: ['eva_config'],
  totals: { parameterCount: 64, bytes: 128 },
};

const POET = {
  id: 'org/poet',
  names: ['bard'],
  source: 'hub',
  revision: 'main@1234',
  generation: 'abc123',
  state: 'resident',
  isPinned: true,
  bytes: { device: 3, host: 2, disk: 1 },
  ranks: [8, 16],
  targets: ['q_proj', 'v_proj'],
  lastUsedAtMs: 1_700_000_000_999,
  runningCount: 2,
  report: REPORT,
} as const;

const WIRE_POET = {
  id: 'org/poet',
  names: ['bard'],
  source: 'hub',
  revision: 'main@1234',
  generation: 'abc123',
  state: 'resident',
  pinned: true,
  bytes: { disk: 1, host: 2, device: 3 },
  ranks: [8, 16],
  targets: ['q_proj', 'v_proj'],
  last_used: 1_700_000_000,
  running_requests: 2,
  failure: null,
};

function opened() {
  const server = testApp({}, { adapterApi: true });
  server.adapters.put(POET);
  const get = (path: string) => server.app.request(path);
  const remove = (path: string) => server.app.request(path, { method: 'DELETE' });
  return { ...server, get, remove };
}

const errorOf = async (response: Response | Promise<Response>) =>
  ((await json(response)) as { error: { message: string; code: string; param: string | null } }).error;

test('the list has every adapter with what it costs and what became of it', async () => {
  const { adapters, get } = opened();
  const failure = { code: 'ADAPTER_INVALID', reason: 'rank 8192', retryAtMs: 1_700_000_000_001 };
  adapters.put({ id: 'broken', source: 'local', state: 'failed', failure });
  const broken = {
    id: 'broken',
    names: [],
    source: 'local',
    revision: null,
    generation: null,
    state: 'failed',
    pinned: false,
    bytes: { disk: 0, host: 0, device: 0 },
    ranks: [],
    targets: [],
    last_used: null,
    running_requests: 0,
    failure: { code: 'ADAPTER_INVALID', reason: 'rank 8192', retry_at: 1_700_000_001 },
  };
  assert.deepEqual(await json(get('/v1/adapters')), { object: 'list', data: [WIRE_POET, broken] });
});

test('one adapter comes with its load report, by id, escaped id or name', async () => {
  const { get, adapters } = opened();
  for (const path of ['org/poet', 'org%2Fpoet', 'bard', 'org/poet?source=hub', 'org/poet?source=HUB']) {
    const { report, ...rest } = (await json(get(`/v1/adapters/${path}`))) as Record<string, unknown>;
    assert.deepEqual(rest, WIRE_POET);
    assert.deepEqual(report, {
      adapter_id: 'org/poet',
      strict: true,
      base_model: { verdict: 'same', reason: 'by name' },
      modules: [
        {
          path: 'model.layers.0.q_proj',
          kind: 'linear',
          rank: 8,
          scale: 2,
          dora: false,
          lora_bias: false,
          replaces_weight: false,
          replaces_bias: false,
        },
      ],
      tensors: {
        used_count: 2,
        unused: { count: 1, first: [{ tensor: 'aB', reason: 'cD' }] },
        missing: NOTES,
        faults: NOTES,
      },
      ignored_config_fields: ['eva_config'],
      totals: { parameter_count: 64, bytes: 128 },
    });
  }
  adapters.put({ id: 's3://bucket/some prefix/x', source: 's3' });
  const address = (await json(get('/v1/adapters/s3://bucket/some%20prefix/x'))) as { id: string; report: unknown };
  assert.deepEqual([address.id, address.report], ['s3://bucket/some prefix/x', null]);
});

test('one id in two sources is two adapters; without a source the default one goes first', async () => {
  const { adapters, get, remove, serving } = opened();
  adapters.put({ id: 'org/poet', source: serving.defaultAdapterSource, revision: 'here' });
  const revision = async (path: string) => ((await json(get(path))) as { revision: string }).revision;
  assert.equal(await revision('/v1/adapters/org/poet'), 'here');
  assert.equal(await revision('/v1/adapters/org/poet?source=hub'), 'main@1234');
  assert.equal(await revision('/v1/adapters/bard'), 'main@1234');
  assert.equal((await remove('/v1/adapters/org/poet')).status, 200);
  assert.deepEqual(adapters.unloads, [['org/poet', 'local']]);
  assert.equal(await revision('/v1/adapters/org/poet'), 'main@1234');
});

test('unknown adapters are 404, unknown sources 422', async () => {
  const { get, remove, adapters } = opened();
  for (const ask of [get, remove]) {
    for (const path of ['nobody', 'org/poet?source=s3', 'bard?source=hub', '%zz', 'a%00b']) {
      const response = await ask(`/v1/adapters/${path}`);
      assert.equal(response.status, 404, path);
      assert.equal((await errorOf(response)).code, 'model_not_found');
    }
    for (const query of ['source=ftp', 'source=', 'source=hub&source=s3']) {
      const response = await ask(`/v1/adapters/org/poet?${query}`);
      assert.equal(response.status, 422, query);
      assert.match((await errorOf(response)).message, /^`source` must be /);
    }
  }
  assert.deepEqual(adapters.unloads, []);
});

test('an adapter is loaded ahead, pinned and named; the answer comes when it is resident', async () => {
  const { adapters, post, get } = opened();
  const body = { id: 'org/new', source: 'Hub', name: 'novel', pin: true, api_token: 'hf_of_the_caller', unknown: 1 };
  const answer = (await json(post('/v1/adapters', body))) as Record<string, unknown>;
  assert.deepEqual(adapters.loads[0]?.load, {
    reference: { id: 'org/new', source: 'hub', apiToken: 'hf_of_the_caller' },
    name: 'novel',
    pin: true,
  });
  assert.deepEqual(
    [answer['id'], answer['state'], answer['pinned'], answer['names']],
    ['org/new', 'resident', true, ['novel']],
  );
  assert.equal('report' in answer, false);
  assert.equal((await get('/v1/adapters/novel')).status, 200);
  await post('/v1/adapters', { id: 'org/other', source: null, name: null, pin: null, api_token: null });
  assert.deepEqual(adapters.loads[1]?.load, { reference: { id: 'org/other', source: 'local' }, pin: false });
});

test('the token of a load is found as that of a request', async () => {
  const { adapters, post } = opened();
  const tokens = async (headers: Record<string, string>) => {
    await post('/v1/adapters', { id: 'org/new' }, headers);
    return adapters.loads.at(-1)?.load.reference.apiToken;
  };
  assert.equal(await tokens({ authorization: 'Bearer from-bearer' }), 'from-bearer');
  assert.equal(await tokens({ authorization: 'Bearer from-bearer', 'x-adapter-token': 'own' }), 'own');
  const keys = new Keyring([], [{ name: 'ops', key: '12345678' }]);
  const keyed = testApp({}, { keys });
  await keyed.post('/v1/adapters', { id: 'org/new' }, { authorization: 'Bearer 12345678' });
  assert.deepEqual(keyed.adapters.loads[0]?.load.reference, { id: 'org/new', source: 'local' });
});

test('a load that fails says so with the status and details that a request would get', async () => {
  const { adapters, post } = opened();
  const failures = [
    [new LoraxError('ADAPTER_NOT_FOUND', { adapterId: 'x', source: 'hub' }), 404],
    [new LoraxError('ADAPTER_FORBIDDEN', { adapterId: 'x' }), 403],
    [new LoraxError('ADAPTER_NOT_READY', { adapterId: 'x', reason: 'it trains' }), 409],
    [new LoraxError('ADAPTER_UNREACHABLE', { adapterId: 'x', reason: 'no answer' }), 503],
    [new LoraxError('ADAPTER_INVALID', { adapterId: 'x', reason: 'bad' }, { details: { usedCount: 1 } }), 422],
  ] as const;
  for (const [error, expected] of failures) {
    adapters.onLoad = () => Promise.reject(error);
    const response = await post('/v1/adapters', { id: 'x' });
    assert.equal(response.status, expected);
    const answer = (await errorOf(response)) as unknown as { message: string; details?: unknown };
    assert.equal(answer.message, error.message);
    assert.deepEqual(answer.details, error.details === undefined ? undefined : { used_count: 1 });
  }
});

test('bodies are checked, bounded and must be JSON', async () => {
  const { adapters, post, serving } = opened();
  const rejected: readonly (readonly [body: unknown, field: string])[] = [
    [{}, 'id'],
    [{ id: '' }, 'id'],
    [{ id: 7 }, 'id'],
    [{ id: 'a\nb' }, 'id'],
    [{ id: 'x'.repeat(1025) }, 'id'],
    [{ id: '__base_model__' }, 'id'],
    [{ id: 'a', source: 'ftp' }, 'source'],
    [{ id: 'a', name: '' }, 'name'],
    [{ id: 'a', name: 'x\u0000' }, 'name'],
    [{ id: 'a', pin: 'yes' }, 'pin'],
    [{ id: 'a', api_token: 1 }, 'api_token'],
    [[], 'body'],
  ];
  for (const [body, field] of rejected) {
    const response = await post('/v1/adapters', body);
    assert.equal(response.status, 422, JSON.stringify(body));
    assert.equal((await errorOf(response)).param, field);
  }
  assert.equal((await post('/v1/adapters', '{')).status, 400);
  assert.equal((await post('/v1/adapters', { id: 'a' }, { 'content-type': 'text/plain' })).status, 415);
  const large = { id: 'a', padding: 'x'.repeat(serving.limits.maxBodyBytes) };
  assert.equal((await post('/v1/adapters', large)).status, 413);
  assert.equal(adapters.loads.length, 0);
});

test('a name cannot hide the base model, another adapter, or another name', async () => {
  const { adapters, post } = opened();
  const named = (id: string, name: string, source?: string) => post('/v1/adapters', { id, name, source });
  for (const name of ['__base_model__', 'demo/base', 'org/poet', 'bard']) {
    const response = await named('evil', name, 'hub');
    assert.equal(response.status, 422, name);
    assert.equal((await errorOf(response)).param, 'name');
  }
  assert.equal((await named('org/poet', 'bard', 'hub')).status, 200);
  assert.equal((await named('org/poet', 'bard', 's3')).status, 422);
  assert.deepEqual(adapters.find('bard')?.source, 'hub');
});

test('unloading answers with the bytes that came back, and then there is none', async () => {
  const { adapters, get, remove } = opened();
  const response = await remove('/v1/adapters/bard');
  assert.equal(response.status, 200);
  assert.deepEqual(await json(response), {
    id: 'org/poet',
    source: 'hub',
    freed: { disk: 1, host: 2, device: 3 },
  });
  assert.deepEqual(adapters.unloads, [['org/poet', 'hub']]);
  assert.equal((await remove('/v1/adapters/org/poet')).status, 404);
  assert.equal((await get('/v1/adapters/bard')).status, 404);
});

test('who goes away stops waiting; the load goes on for the others', async () => {
  const { adapters, app, post } = opened();
  let finish = (): void => undefined;
  const loaded = new Promise<void>((resolve) => (finish = resolve));
  adapters.onLoad = () => loaded;
  const gone = new AbortController();
  const request = new Request('http://localhost/v1/adapters', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'slow' }),
    signal: gone.signal,
  });
  const left = app.request(request);
  const stayed = post('/v1/adapters', { id: 'slow' });
  while (adapters.loads.length < 2) await new Promise((resolve) => setImmediate(resolve));
  gone.abort();
  assert.equal((await left).status, 499);
  assert.deepEqual(
    adapters.loads.map(({ signal }) => signal.aborted),
    [true, false],
  );
  finish();
  assert.equal((await stayed).status, 200);
});

test('a name serves its adapter with the token of the request; a source makes it an id again', async () => {
  const { generator, post } = opened();
  const asked = async (path: string, body: object, headers = {}) => {
    assert.equal((await post(path, body, headers)).status, 200);
    return generator.calls.at(-1)?.request.adapter;
  };
  const token = { 'x-adapter-token': 'mine' };
  const poet = { id: 'org/poet', source: 'hub' };
  assert.deepEqual(await asked('/generate', { inputs: 'a', parameters: { adapter_id: 'bard' } }), poet);
  assert.deepEqual(await asked('/v1/completions', { model: 'bard', prompt: 'a' }, token), {
    ...poet,
    apiToken: 'mine',
  });
  const chat = { model: '', adapter_id: 'bard', messages: [{ role: 'user', content: 'a' }] };
  assert.deepEqual(await asked('/v1/chat/completions', chat), poet);
  const withSource = { inputs: 'a', parameters: { adapter_id: 'bard', adapter_source: 'local' } };
  assert.deepEqual(await asked('/generate', withSource), { id: 'bard', source: 'local' });
});

test('/v1/models lists names with their parent beside the ids', async () => {
  const { get } = opened();
  const { data } = (await json(get('/v1/models'))) as { data: { id: string }[] };
  assert.deepEqual(
    data.map(({ id }) => id),
    ['demo/base', 'bard', 'org/poet'],
  );
  assert.deepEqual(await json(get('/v1/models/bard')), {
    id: 'bard',
    object: 'model',
    created: 1_700_000_000,
    owned_by: 'lorax',
    parent: 'demo/base',
    root: 'org/poet',
    adapter_source: 'hub',
    adapter_generation: 'abc123',
  });
});

test('a replaced adapter that still runs is listed twice, and its name once', async () => {
  const { adapters, get } = opened();
  const [current] = adapters.statuses();
  const old = { ...current, generation: 'before', state: 'draining' };
  adapters.statuses = () => [old, current] as ReturnType<typeof adapters.statuses>;
  adapters.find = () => current;
  const { data } = (await json(get('/v1/adapters'))) as { data: { generation: string }[] };
  assert.deepEqual(
    data.map(({ generation }) => generation),
    ['before', 'abc123'],
  );
  const models = (await json(get('/v1/models'))) as { data: { id: string; adapter_generation?: string }[] };
  assert.deepEqual(
    models.data.map((model) => [model.id, model.adapter_generation]),
    [
      ['demo/base', undefined],
      ['bard', 'abc123'],
      ['org/poet', 'abc123'],
    ],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { json, testApp } from './testdata/client.ts';
import { FAKE_LIMITS, fakeTokenizer } from './testdata/fake-serving.ts';

const status = async (response: Response | Promise<Response>) => (await response).status;
const errorType = async (response: Promise<Response>) => ((await json(response)) as { error_type: string }).error_type;

test('health answers 200 without a body, and 503 with the reason', async () => {
  const { app } = testApp();
  for (const path of ['/', '/health', '/ping']) {
    const response = await app.request(path);
    assert.equal(response.status, 200);
    assert.equal(await response.text(), '');
    assert.equal(await status(app.request(path, { method: 'HEAD' })), 200);
  }
  const checkHealth = async () => {
    throw new LoraxError('UNHEALTHY', { reason: 'the step loop stopped' });
  };
  const response = await testApp({ checkHealth }).app.request('/health');
  assert.equal(response.status, 503);
  assert.deepEqual(await json(response), { error: 'unhealthy: the step loop stopped', error_type: 'healthcheck' });
});

test('/info is what the server says of itself', async () => {
  assert.deepEqual(await json(testApp().app.request('/info')), { model_id: 'demo/base', max_total_tokens: 200 });
});

test('/v1/models lists base and adapters, and finds ids with slashes escaped or not', async () => {
  const { app } = testApp();
  const base = { id: 'demo/base', object: 'model', created: 1_700_000_000, owned_by: 'lorax', parent: null };
  const poet = {
    ...base,
    id: 'org/poet',
    created: 1_700_000_100,
    parent: 'demo/base',
    adapter_source: 'local',
    adapter_generation: 'abc123',
  };
  assert.deepEqual(await json(app.request('/v1/models')), { object: 'list', data: [base, poet] });
  for (const path of ['/v1/models/org/poet', '/v1/models/org%2Fpoet'])
    assert.deepEqual(await json(app.request(path)), poet);
  const missing = await app.request('/v1/models/nobody');
  assert.equal(missing.status, 404);
  assert.equal(((await json(missing)) as { error: { code: string } }).error.code, 'model_not_found');
  assert.equal(await status(app.request('/v1/models/%zz')), 404);
});

test('/tokenize gives ids, pieces and offsets', async () => {
  const { post } = testApp();
  assert.deepEqual(await json(post('/tokenize', { inputs: 'hi' })), [
    { id: 1, text: '<s>', start: 0, stop: 0 },
    { id: 10, text: 'hi', start: 0, stop: 2 },
  ]);
  assert.deepEqual(await json(post('/tokenize', { inputs: 'hi', add_special_tokens: false })), [
    { id: 10, text: 'hi', start: 0, stop: 2 },
  ]);
  assert.equal(await status(post('/tokenize', {})), 422);
});

test('an unknown route is 404 and a wrong method 405, in each family’s error form', async () => {
  const { app, post } = testApp();
  assert.deepEqual(await json(app.request('/nowhere')), { error: 'no route GET /nowhere', error_type: 'not_found' });
  const wrong = await app.request('/generate');
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.get('allow'), 'POST');
  assert.equal(await status(post('/health', {})), 405);
  assert.equal(await status(app.request('/generate', { method: 'HEAD' })), 405);
  assert.equal(await status(app.request('/', { method: 'DELETE' })), 405);
  assert.equal(await status(post('/v1/models/org/poet', {})), 405);
  const openai = await app.request('/v1/nowhere');
  assert.equal(openai.status, 404);
  assert.deepEqual(await json(openai), {
    error: { message: 'no route GET /v1/nowhere', type: 'invalid_request_error', param: null, code: 'not_found' },
  });
});

test('a body must be JSON, say so, and be of a decent size and depth', async () => {
  const { app, post } = testApp();
  assert.equal(await status(post('/generate', '{"inputs": ')), 400);
  assert.equal(await errorType(post('/generate', '')), 'validation');
  assert.equal(
    await status(app.request('/generate', { method: 'POST', body: new Uint8Array([0x22, 0xff, 0x22]), ...typed() })),
    400,
  );
  assert.equal(await status(app.request('/generate', { method: 'POST', body: '{"inputs":"a"}' })), 415);
  assert.equal(await status(app.request('/generate', { method: 'POST', ...typed() })), 400);
  for (const type of ['text/plain', 'application/jsonp', 'multipart/form-data']) {
    assert.equal(await status(post('/generate', { inputs: 'a' }, { 'content-type': type })), 415);
  }
  for (const type of ['Application/JSON', 'application/json; charset=utf-8', 'application/vnd.api+json']) {
    assert.equal(await status(post('/generate', { inputs: 'a' }, { 'content-type': type })), 200);
  }
  const large = JSON.stringify({ inputs: 'a'.repeat(FAKE_LIMITS.maxBodyBytes) });
  assert.equal(await status(post('/generate', large)), 413);
  assert.equal(await status(post('/generate', large, { 'content-length': '1' })), 413);
  assert.equal(await status(post('/generate', { inputs: 'a' }, { 'content-length': '999999' })), 413);
  assert.equal(await status(post('/generate', '['.repeat(60_000))), 422);
  assert.equal(await status(post('/generate', { inputs: '[{"\\'.repeat(100) })), 200);
});

function typed() {
  return { headers: { 'content-type': 'application/json' } };
}

test('a list of a hundred thousand wrong elements is refused at the first', async () => {
  const { serving } = testApp();
  const { post } = testApp({ limits: { ...serving.limits, maxBodyBytes: 1e7 } });
  const wrong = Array(100_000).fill(1);
  const fields = [
    ['/generate', { inputs: 'a', parameters: { stop: wrong } }],
    ['/v1/completions', { model: '', prompt: 'a', stop: wrong }],
    ['/v1/completions', { model: '', prompt: ['a', ...wrong] }],
    ['/v1/chat/completions', { model: '', messages: wrong }],
    ['/v1/chat/completions', { model: '', messages: [{ role: 'user', content: wrong }] }],
  ] as const;
  for (const [path, body] of fields) {
    const response = await post(path, body);
    assert.equal(response.status, 422);
    assert.ok((await response.text()).length < 300);
  }
});

test('an unforeseen error is a 500 that tells nothing and is logged', async () => {
  const { post, generator, logged } = testApp();
  generator.hooks = {
    accept: () => {
      throw new TypeError('secret /etc/path');
    },
  };
  for (const [path, body] of [
    ['/generate', { inputs: 'a' }],
    ['/v1/completions', { model: '', prompt: 'a' }],
  ] as const) {
    const response = await post(path, body);
    assert.equal(response.status, 500);
    assert.ok(!(await response.text()).includes('secret'));
  }
  assert.equal(logged.length, 2);
});

test('details of an error, such as a load report, reach the caller', async () => {
  const { post, generator } = testApp();
  const details = { missing: ['lm_head.lora_A'] };
  generator.hooks = {
    accept: () => {
      throw new LoraxError('ADAPTER_INVALID', { adapterId: 'x', reason: 'missing tensors' }, { details });
    },
  };
  const native = (await json(post('/generate', { inputs: 'a', parameters: { adapter_id: 'x' } }))) as {
    details: object;
  };
  assert.deepEqual(native.details, details);
  const openai = (await json(post('/v1/completions', { model: 'x', prompt: 'a' }))) as { error: { details: object } };
  assert.deepEqual(openai.error.details, details);
});

test('browsers may call from any origin, or only from those that were named', async () => {
  const preflight = {
    method: 'OPTIONS',
    headers: { origin: 'https://a.example', 'access-control-request-method': 'POST' },
  };
  const open = await testApp().app.request('/generate', preflight);
  assert.equal(open.status, 204);
  assert.equal(open.headers.get('access-control-allow-origin'), '*');
  assert.match(open.headers.get('access-control-allow-headers') ?? '', /authorization/);
  const { app } = testApp(
    {},
    {
      cors: {
        origins: ['https://b.example'],
        methods: ['POST'],
        headers: ['x-own'],
        exposedHeaders: ['x-shown'],
        credentials: true,
      },
    },
  );
  assert.equal((await app.request('/generate', preflight)).headers.get('access-control-allow-origin'), null);
  const named = await app.request('/health', { headers: { origin: 'https://b.example' } });
  assert.equal(named.headers.get('access-control-allow-origin'), 'https://b.example');
  assert.equal(named.headers.get('access-control-expose-headers'), 'x-shown');
  assert.equal(named.headers.get('access-control-allow-credentials'), 'true');
});

test('spans of a tokenizer that fails are an error in JSON', async () => {
  const spans = () => Promise.reject(new Error('worker died'));
  const response = await testApp({ tokenizer: { ...fakeTokenizer, spans } }).post('/tokenize', { inputs: 'a' });
  assert.equal(response.status, 500);
  assert.equal(((await json(response)) as { error_type: string }).error_type, 'internal');
});

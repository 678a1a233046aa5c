import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LoraxError } from '../base/errors.ts';
import { Keyring } from './keys.ts';
import { json, testApp } from './testdata/client.ts';

const KEY = 'team-key-1234567';
const ADMIN_KEY = 'admin-key=/+12345';
const keys = new Keyring([{ name: 'team', key: KEY }], [{ name: 'ops', key: ADMIN_KEY }]);
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

const keyed = (options: { readonly adapterApi?: boolean } = {}) => testApp({}, { keys, ...options });
const status = async (response: Response | Promise<Response>) => (await response).status;

/** Every route there is, with a path that it answers to: a new route is in this list by itself. */
function routes({ app }: ReturnType<typeof testApp>): { readonly method: string; readonly path: string }[] {
  return app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => ({ method, path: path.replace(/:\w+\{[^}]*\}/, 'org/poet') }));
}

test('without a right key every route but /health is 401, in each family’s form', async () => {
  const server = keyed();
  const all = [...routes(server), { method: 'GET', path: '/nowhere' }, { method: 'HEAD', path: '/info' }];
  assert.ok(all.length > 20);
  const wrong = [
    '',
    'Bearer',
    'Bearer ',
    `Bearer ${KEY}x`,
    `Bearer ${KEY.slice(1)}`,
    KEY,
    `Basic ${KEY}`,
    `Bearer ${KEY}, Bearer x`,
  ];
  for (const { method, path } of all) {
    for (const headers of [{}, ...wrong.map((authorization) => ({ authorization })), { 'x-adapter-token': KEY }]) {
      const response = await server.app.request(path, { method, headers });
      if (method === 'GET' && path === '/health') {
        assert.equal(response.status, 200);
        continue;
      }
      assert.equal(response.status, 401, `${method} ${path} ${JSON.stringify(headers)}`);
      assert.equal(response.headers.get('www-authenticate'), 'Bearer');
      if (method === 'HEAD') continue;
      const message = 'the request carries no valid API key';
      assert.deepEqual(
        await json(response),
        path.startsWith('/v1/')
          ? { error: { message, type: 'authentication_error', param: null, code: 'authentication' } }
          : { error: message, error_type: 'authentication' },
      );
    }
  }
  assert.equal(server.generator.calls.length, 0);
  assert.equal(server.adapters.loads.length, 0);
});

test('with an API key or an admin key no route is 401', async () => {
  const server = keyed();
  for (const { method, path } of routes(server)) {
    for (const key of [KEY, ADMIN_KEY]) {
      assert.notEqual(
        await status(server.app.request(path, { method, headers: bearer(key) })),
        401,
        `${method} ${path}`,
      );
    }
  }
  assert.equal(await status(server.app.request('/info', { headers: { authorization: `bearer  ${KEY} ` } })), 200);
});

test('without keys the server is open, whatever a request carries', async () => {
  const server = testApp();
  for (const { method, path } of routes(server)) {
    assert.notEqual(await status(server.app.request(path, { method, headers: bearer('anything') })), 401);
  }
});

test('a preflight needs no key, and pages can read that theirs was wrong', async () => {
  const { app } = keyed();
  const preflight = { origin: 'https://a.example', 'access-control-request-method': 'DELETE' };
  const response = await app.request('/v1/adapters/org/poet', { method: 'OPTIONS', headers: preflight });
  assert.equal(response.status, 204);
  assert.match(response.headers.get('access-control-allow-methods') ?? '', /DELETE/);
  assert.match(response.headers.get('access-control-allow-headers') ?? '', /x-adapter-token/);
  const refused = await app.request('/info', { headers: { origin: 'https://a.example' } });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('access-control-allow-origin'), '*');
});

const GENERATING: readonly (readonly [path: string, body: object])[] = [
  ['/generate', { inputs: 'a', parameters: { adapter_id: 'org/poet' } }],
  ['/v1/completions', { model: 'org/poet', prompt: 'a' }],
  ['/v1/chat/completions', { model: 'org/poet', messages: [{ role: 'user', content: 'a' }] }],
];

function withToken(body: object, token: string): object {
  return 'parameters' in body
    ? { ...body, parameters: { ...(body.parameters as object), api_token: token } }
    : { ...body, api_token: token };
}

/** What the source of the adapter would be shown. */
async function shownToken(
  server: ReturnType<typeof testApp>,
  path: string,
  body: object,
  headers: Record<string, string>,
) {
  assert.equal(await status(server.post(path, body, headers)), 200);
  const adapter = server.generator.calls.at(-1)?.request.adapter;
  return adapter && 'apiToken' in adapter ? adapter.apiToken : undefined;
}

test('with keys the adapter’s token is api_token or x-adapter-token, and never the bearer token', async () => {
  const server = keyed();
  for (const [path, body] of GENERATING) {
    const token = (own: object, headers = {}) => shownToken(server, path, own, { ...bearer(KEY), ...headers });
    assert.equal(await token(body), undefined);
    assert.equal(await token(body, { 'x-adapter-token': 'from-header' }), 'from-header');
    assert.equal(await token(withToken(body, 'from-body'), { 'x-adapter-token': 'from-header' }), 'from-body');
    assert.equal(await token(withToken(body, ''), { 'x-adapter-token': 'from-header' }), 'from-header');
  }
});

test('without keys it is api_token, then x-adapter-token, then the bearer token', async () => {
  const server = testApp();
  for (const [path, body] of GENERATING) {
    const token = (own: object, headers = {}) =>
      shownToken(server, path, own, { ...bearer('from-bearer'), ...headers });
    assert.equal(await token(body), 'from-bearer');
    assert.equal(await token(body, { 'x-adapter-token': 'from-header' }), 'from-header');
    assert.equal(await token(withToken(body, 'from-body'), { 'x-adapter-token': 'from-header' }), 'from-body');
  }
});

test('a key of the server is refused as an adapter’s token, before anything is asked of a source', async () => {
  const server = keyed();
  for (const [path, body] of GENERATING) {
    for (const key of [KEY, ADMIN_KEY]) {
      assert.equal(await status(server.post(path, withToken(body, key), bearer(KEY))), 422);
      assert.equal(await status(server.post(path, body, { ...bearer(KEY), 'x-adapter-token': key })), 422);
    }
  }
  assert.equal(await status(server.post('/v1/adapters', { id: 'a', api_token: KEY }, bearer(ADMIN_KEY))), 422);
  assert.equal(server.generator.calls.length + server.adapters.loads.length, 0);
});

test('the name of the key is in the request log at debug, and the key is nowhere', async () => {
  const server = keyed({ adapterApi: true });
  server.generator.hooks = {
    token: (index) => index === 1 && Promise.reject(new LoraxError('GENERATION', { reason: 'lost' })),
  };
  const seen: string[] = [];
  for (const { method, path } of routes(server)) {
    for (const key of [KEY, ADMIN_KEY, `${KEY}-wrong`]) {
      const headers = { ...bearer(key), 'x-adapter-token': key, 'content-type': 'application/json' };
      const body = JSON.stringify({ inputs: 'a b', model: '', prompt: 'a b', id: 'a', lora_name: 'n', api_token: key });
      const response = await server.app.request(path, { method, headers, ...(method === 'POST' && { body }) });
      seen.push(JSON.stringify([...response.headers]), await response.text());
    }
  }
  seen.push(await (await server.app.request('/metrics', { headers: bearer(KEY) })).text());
  const log = [...server.debugged, ...server.logged.map((entry) => JSON.stringify(entry))].join('\n');
  assert.ok(log.includes('"caller":"team"') && log.includes('"caller":"ops"'));
  for (const text of [log, ...seen]) {
    assert.ok(!text.includes(KEY) && !text.includes(ADMIN_KEY), text.slice(0, 200));
  }
  for (const text of seen) assert.ok(!/\bteam\b|\bops\b/.test(text), text.slice(0, 200));
  assert.ok(!JSON.stringify(keys).includes(KEY));
});

test('only the whole key is the key', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(KEY.length), (text, at) => {
      for (const other of [text, KEY.slice(0, at) + text, text + KEY.slice(at)]) {
        assert.equal(keys.holderOf(other)?.name, other === KEY ? 'team' : other === ADMIN_KEY ? 'ops' : undefined);
      }
    }),
  );
  assert.deepEqual(keys.holderOf(ADMIN_KEY), { name: 'ops', isAdmin: true });
});

const ADMIN_ROUTES = [
  ['GET', '/v1/adapters'],
  ['POST', '/v1/adapters'],
  ['GET', '/v1/adapters/org/poet'],
  ['DELETE', '/v1/adapters/org/poet'],
  ['POST', '/v1/load_lora_adapter'],
  ['POST', '/v1/unload_lora_adapter'],
] as const;

test('the adapter routes are off, for admins, or for all', async () => {
  const refusal = async (server: ReturnType<typeof testApp>, method: string, path: string, headers = {}) => {
    const response = await server.app.request(path, { method, headers });
    if (response.status !== 403) return undefined;
    const { error } = (await json(response)) as { error: { message: string; code: string } };
    assert.equal(error.code, 'permission');
    return error.message;
  };
  const teamOnly = new Keyring([{ name: 'team', key: KEY }], []);
  for (const [method, path] of ADMIN_ROUTES) {
    assert.match((await refusal(testApp(), method, path)) ?? '', /--adapter-api .*--admin-key/);
    assert.match((await refusal(testApp({}, { keys: teamOnly }), method, path, bearer(KEY))) ?? '', /--adapter-api/);
    assert.match((await refusal(keyed(), method, path, bearer(KEY))) ?? '', /is for holders of an admin key$/);
    assert.equal(await refusal(keyed(), method, path, bearer(ADMIN_KEY)), undefined);
    assert.equal(await refusal(keyed({ adapterApi: true }), method, path, bearer(KEY)), undefined);
    assert.equal(await refusal(testApp({}, { adapterApi: true }), method, path), undefined);
  }
  const listed = routes(testApp()).filter(({ path }) => /adapter/.test(path));
  assert.equal(listed.length, ADMIN_ROUTES.length, 'a new adapter route belongs in the list above');
});

test('every other route needs no admin key', async () => {
  const server = keyed();
  for (const { method, path } of routes(server)) {
    if (/adapter/.test(path)) continue;
    assert.notEqual(await status(server.app.request(path, { method, headers: bearer(KEY) })), 403, path);
  }
});

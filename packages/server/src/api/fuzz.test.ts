import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LoraxError } from '../base/errors.ts';
import { Keyring } from './keys.ts';
import { testApp } from './testdata/client.ts';

/** Field names that the routes know, so that arbitrary values meet real checks. */
const NATIVE =
  'adapter_id adapter_source api_token merged_adapters best_of temperature repetition_penalty frequency_penalty ' +
  'presence_penalty top_k top_p typical_p do_sample max_new_tokens ignore_eos_token return_full_text stop truncate ' +
  'watermark details decoder_input_details return_k_alternatives apply_chat_template seed response_format';
const OPENAI =
  'model prompt messages max_tokens max_completion_tokens temperature top_p top_k typical_p n best_of stream ' +
  'stream_options logprobs top_logprobs echo stop presence_penalty frequency_penalty repetition_penalty seed suffix user ' +
  'logit_bias ignore_eos_token adapter_id adapter_source api_token tools tool_choice response_format guideline';

const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(0, 1, 2, -1, 0.5, 1e308, -0, 2 ** 53, '', 'a b', 'hub', '__proto__', [], {}, null, true, false),
  fc.array(fc.constantFrom('a', 'b c', '', 1, 5, null), { maxLength: 3 }),
  fc.array(fc.array(fc.integer({ min: -1, max: 1001 }), { maxLength: 3 }), { maxLength: 3 }),
  fc.array(
    fc.record({
      role: fc.constantFrom('user', '', 7),
      content: fc.constantFrom('hi', null, [], [{ type: 'text', text: 'x' }], 3),
    }),
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

/** Some of the fields with arbitrary values, over a body that is valid but for them. */
const fields = (names: string) =>
  fc.array(fc.tuple(fc.constantFrom(...names.split(' '), 'unknown'), value), { maxLength: 4 }).map(Object.fromEntries);

const nativeBody = fc
  .tuple(fields(NATIVE), fields('inputs stream'))
  .map(([parameters, own]) => ({ inputs: 'a b', parameters, ...own }));
const openaiBody = fields(OPENAI).map((own) => ({
  model: 'm',
  prompt: 'a b',
  messages: [{ role: 'user', content: 'hi' }],
  ...own,
}));
const request = fc.oneof(
  fc.tuple(fc.constantFrom('/generate', '/generate_stream', '/', '/invocations', '/tokenize'), nativeBody),
  fc.tuple(fc.constantFrom('/v1/completions', '/v1/chat/completions'), openaiBody),
  fc.tuple(fc.constantFrom('/generate', '/v1/completions', '/tokenize'), fc.jsonValue()),
);

test('no body gets a 5xx, and every refusal is a JSON error that names what was wrong', async () => {
  const { post, logged } = testApp();
  await fc.assert(
    fc.asyncProperty(request, async ([path, body]) => {
      const response = await post(path, JSON.stringify(body));
      const text = await response.text();
      assert.ok(response.status === 200 || response.status === 422, `${response.status} ${text}`);
      if (response.status === 200) return;
      const { error, error_type } = JSON.parse(text);
      if (path.startsWith('/v1/')) assert.match(error.message, /^`[^`]+` (must|is|asks|has) /);
      else assert.equal(error_type, 'validation');
    }),
    { numRuns: 1500 },
  );
  assert.deepEqual(logged, []);
});

test('no text sent as JSON gets a 5xx', async () => {
  const { app, logged } = testApp();
  const headers = { 'content-type': 'application/json' };
  const valid = JSON.stringify({ inputs: 'a', parameters: { stop: ['x'], seed: 1 } });
  const mutated = fc
    .tuple(fc.nat(valid.length), fc.nat(4), fc.string({ unit: 'binary', maxLength: 4 }))
    .map(([at, removed, added]) => valid.slice(0, at) + added + valid.slice(at + removed));
  const bytes = fc.oneof(
    fc.uint8Array(),
    mutated.map((text) => Buffer.from(text)),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (body) => {
      const response = await app.request('/generate', { method: 'POST', headers, body: new Uint8Array(body) });
      assert.ok([200, 400, 422].includes(response.status), String(response.status));
      const answer: unknown = await response.json();
      assert.ok(typeof answer === 'object');
    }),
    { numRuns: 1000 },
  );
  assert.deepEqual(logged, []);
});

test('no path or method gets a 5xx or an answer that is not JSON', async () => {
  const { app, logged } = testApp();
  const path = fc.webPath().map((text) => `/${text.replace(/^\/+/, '')}`);
  const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH');
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        path,
        path.map((text) => `/v1/models${text}`),
      ),
      method,
      async (url, verb) => {
        const response = await app.request(url, { method: verb });
        assert.ok(response.status < 500);
        if (response.status >= 400) await response.json();
      },
    ),
    { numRuns: 300 },
  );
  assert.deepEqual(logged, []);
});

/** Ids that look like ids, paths that try to get out, names of objects' own fields, and any text. */
const id = fc.oneof(
  fc.constantFrom(
    'org/poet',
    '../../etc/passwd',
    '/etc/passwd',
    's3://b/k',
    '__proto__',
    'constructor',
    '.',
    '%2e%2e',
    ' ',
  ),
  fc.constantFrom(
    '__base_model__',
    'demo/base',
    'bard',
    '?source=hub',
    '#',
    '%',
    '%00',
    '\r\nset-cookie: a=b',
    '\ud800',
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
);

/** A URL holds no half of a surrogate pair. */
const wellFormed = (text: string): string => Buffer.from(text).toString();

function managed() {
  const server = testApp({}, { adapterApi: true });
  server.adapters.put({ id: 'org/poet', source: 'hub', names: ['bard'] });
  server.adapters.onLoad = ({ reference }) => {
    if (reference.id.includes('.')) throw new LoraxError('ADAPTER_INVALID', { adapterId: reference.id, reason: 'no' });
  };
  return server;
}

test('no id, name or source in a path gets a 5xx, and only what is there is found', async () => {
  const { app, adapters, logged } = managed();
  const method = fc.constantFrom('GET', 'DELETE');
  const query = fc.option(fc.oneof(fc.constantFrom('hub', 'S3', ''), fc.string({ unit: 'binary', maxLength: 9 })));
  await fc.assert(
    fc.asyncProperty(id, query, method, fc.boolean(), async (given, source, verb, isEscaped) => {
      if (adapters.find('org/poet') === undefined) adapters.put({ id: 'org/poet', source: 'hub', names: ['bard'] });
      const path = isEscaped ? encodeURIComponent(wellFormed(given)) : wellFormed(given);
      const search = source === null ? '' : `?source=${encodeURIComponent(wellFormed(source))}`;
      const response = await app.request(`/v1/adapters/${path}${search}`, { method: verb });
      assert.ok([200, 404, 405, 422].includes(response.status), String(response.status));
      const body = (await response.json()) as { id?: string; error?: unknown };
      if (response.status === 200) assert.equal(body.id, 'org/poet');
      else assert.notEqual(body.error, undefined);
    }),
    { numRuns: 1000 },
  );
  assert.deepEqual(logged, []);
});

test('no body of an adapter route gets a 5xx', async () => {
  const { post, logged } = managed();
  const names = 'id source name pin api_token lora_name lora_path load_inplace lora_int_id';
  const field = fc.tuple(fc.constantFrom(...names.split(' ')), fc.oneof(id, value));
  const body = fc.array(field, { maxLength: 5 }).map((own) => ({
    ...{ id: 'a', lora_name: 'n', lora_path: 'b/c' },
    ...Object.fromEntries(own),
  }));
  const path = fc.constantFrom('/v1/adapters', '/v1/load_lora_adapter', '/v1/unload_lora_adapter');
  await fc.assert(
    fc.asyncProperty(path, fc.oneof(body, fc.jsonValue()), async (route, sent) => {
      const response = await post(route, JSON.stringify(sent));
      const text = await response.text();
      assert.ok(response.status < 500, `${response.status} ${text}`);
      if (response.status !== 200) assert.equal(typeof JSON.parse(text).error.message, 'string');
    }),
    { numRuns: 1500 },
  );
  assert.deepEqual(logged, []);
});

test('no header opens a server with keys, or breaks an open one', async () => {
  const keys = new Keyring([{ name: 'team', key: 'team-key-1234567' }], []);
  const closed = testApp({}, { keys });
  const open = testApp();
  const name = fc.constantFrom('authorization', 'x-adapter-token', 'x-api-key', 'cookie', 'origin', 'www-authenticate');
  const text = fc
    .tuple(
      fc.constantFrom('', 'Bearer ', 'bearer\t', 'Basic ', 'Bearer team-key-', ','),
      fc.string({ unit: 'binary-ascii' }),
    )
    .map((parts) => parts.join('').replaceAll(/[^\x20-\x7e\t]/g, ''));
  const body = JSON.stringify({ inputs: 'a', parameters: { adapter_id: 'org/poet' } });
  const json = { 'content-type': 'application/json' };
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, text), { maxLength: 3 }), async (given) => {
      const headers = { ...Object.fromEntries(given), ...json };
      const refused = await closed.app.request('/generate', { method: 'POST', headers, body });
      assert.equal(refused.status, 401);
      const answered = await open.app.request('/generate', { method: 'POST', headers, body });
      assert.equal(answered.status, 200);
    }),
    { numRuns: 500 },
  );
  assert.deepEqual([closed.logged, open.logged, closed.generator.calls], [[], [], []]);
});

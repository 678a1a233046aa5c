import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { leave, post, postRaw, type JsonObject } from './http.ts';
import { LoraxServer } from './lorax-process.ts';
import { REPOSITORY } from './repository.ts';

let server: LoraxServer;
before(async () => {
  server = await LoraxServer.start([...QUIET_DEMO_ARGS, '--max-concurrent-requests', '2']);
});
after(() => server.stop());

/** One route, streaming or not, and how it is told an adapter and a parameter. */
interface Route {
  readonly path: string;
  readonly isOpenAi: boolean;
  body(adapter: string, parameters: JsonObject): JsonObject;
}

const native = (path: string, extra: JsonObject = {}): Route => ({
  path,
  isOpenAi: false,
  body: (adapter, parameters) => ({
    inputs: PROMPTS[0],
    parameters: { adapter_id: adapter, max_new_tokens: 4, ...parameters },
    ...extra,
  }),
});

const openai = (path: string, prompt: JsonObject, stream: boolean): Route => ({
  path,
  isOpenAi: true,
  body: (model, parameters) => ({ model, ...prompt, max_tokens: 4, stream, ...parameters }),
});

const CHAT = { messages: [{ role: 'user', content: 'Good morning!' }] };
const ROUTES: readonly Route[] = [
  native('/generate'),
  native('/generate_stream'),
  native('/'),
  native('/', { stream: true }),
  openai('/v1/completions', { prompt: PROMPTS[0] }, false),
  openai('/v1/completions', { prompt: PROMPTS[0] }, true),
  openai('/v1/chat/completions', CHAT, false),
  openai('/v1/chat/completions', CHAT, true),
];

async function assertRefused(route: Route, body: JsonObject, status: number, says: RegExp): Promise<void> {
  const reply = await post(server.url + route.path, body);
  const what = `${route.path} ${JSON.stringify(body)}: ${reply.text}`;
  assert.equal(reply.status, status, what);
  assertError(reply.text, route.isOpenAi, says, what);
}

function assertError(text: string, isOpenAi: boolean, says: RegExp, what: string): void {
  const { error, error_type: type } = JSON.parse(text) as { error: unknown; error_type?: string };
  const message = isOpenAi ? (error as { message: string }).message : (error as string);
  if (!isOpenAi) assert.equal(typeof type, 'string', what);
  assert.match(message, says, what);
  assert.ok(!text.includes(REPOSITORY), what); // no path of this machine
}

const REFUSALS: readonly {
  readonly name: string;
  adapter?: string;
  parameters?: JsonObject;
  status: number;
  says: RegExp;
}[] = [
  { name: 'an unknown adapter', adapter: 'nobody', status: 404, says: /nobody/ },
  { name: 'a path that leads out', adapter: '../base', status: 403, says: /not accessible/ },
  { name: 'an absolute path', adapter: '/etc', status: 403, says: /not accessible/ },
  { name: 'a temperature below 0', parameters: { temperature: -1 }, status: 422, says: /temperature/ },
  { name: 'a top_p above 1', parameters: { top_p: 1.5 }, status: 422, says: /top_p/ },
  { name: 'a penalty of 0', parameters: { repetition_penalty: 0 }, status: 422, says: /repetition_penalty/ },
  { name: 'a seed that is no integer', parameters: { seed: 1.5 }, status: 422, says: /seed/ },
  { name: 'too many stop strings', parameters: { stop: ['a', 'b', 'c', 'd', 'e'] }, status: 422, says: /stop/ },
];

for (const { name, adapter = '', parameters = {}, status, says } of REFUSALS) {
  test(`${name} is answered with ${status} on every route, streaming or not`, async () => {
    for (const route of ROUTES) await assertRefused(route, route.body(adapter, parameters), status, says);
  });
}

test('more tokens than the context holds are answered with 422 on every route', async () => {
  for (const route of ROUTES) {
    const tooMany = { [route.isOpenAi ? 'max_tokens' : 'max_new_tokens']: 100_000 };
    await assertRefused(route, route.body('', tooMany), 422, /max_(new_)?tokens/);
  }
});

test('a body that is no JSON, no object, of another type or too large keeps its status on every route', async () => {
  const cases = [
    { body: '{"inputs": ', type: 'application/json', status: 400 },
    { body: '[]', type: 'application/json', status: 422 },
    { body: new Uint8Array([0xff, 0xfe]), type: 'application/json', status: 400 },
    { body: '{}', type: 'text/plain', status: 415 },
    { body: JSON.stringify({ inputs: 'a'.repeat(3_000_000) }), type: 'application/json', status: 413 },
  ];
  for (const { path, isOpenAi } of ROUTES) {
    for (const { body, type, status } of cases) {
      const reply = await postRaw(server.url + path, body, type);
      assert.equal(reply.status, status, `${path}: ${reply.text}`);
      assertError(reply.text, isOpenAi, /./, path);
    }
  }
});

test('a request above --max-concurrent-requests is answered with 429 on every route, and served later', async () => {
  const controller = new AbortController();
  const long = { inputs: PROMPTS[0], parameters: { max_new_tokens: 900, ignore_eos_token: true } };
  const body = JSON.stringify(long);
  const headers = { 'content-type': 'application/json' };
  const hold = () =>
    fetch(`${server.url}/generate_stream`, { method: 'POST', headers, body, signal: controller.signal });
  const held = await Promise.all([hold(), hold()]);
  assert.deepEqual(
    held.map(({ status }) => status),
    [200, 200],
  );
  for (const route of ROUTES) await assertRefused(route, route.body('', {}), 429, /2 requests in hand/);
  controller.abort();
  await untilServed();
});

test('clients that left before their answer began hold no place', async () => {
  const body = { inputs: PROMPTS[0], parameters: { max_new_tokens: 900, ignore_eos_token: true } };
  await Promise.all([1, 2].map(() => leave(`${server.url}/generate`, body, 50)));
  await untilServed();
});

/** The places of clients that left are free within a step; how long a step takes is the machine's business. */
async function untilServed(): Promise<void> {
  for (;;) {
    const { status } = await post(`${server.url}/generate`, { inputs: 'Once', parameters: { max_new_tokens: 1 } });
    if (status === 200) return;
    assert.equal(status, 429);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

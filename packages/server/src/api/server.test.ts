import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LoraxError } from '../base/errors.ts';
import type { AppOptions } from './app.ts';
import { listen, type ListenOptions } from './server.ts';
import { parseEvents, testApp } from './testdata/client.ts';
import type { Serving } from './serving.ts';

async function started(
  t: TestContext,
  {
    serving = {},
    options = {},
    ...own
  }: { serving?: Partial<Serving>; options?: Partial<AppOptions> } & Partial<ListenOptions> = {},
) {
  const app = testApp(serving, options);
  const server = await listen(app.app, { hostname: '127.0.0.1', port: 0, drainMs: 0, ...own });
  t.after(() => server.close());
  const open = (path: string, body: object, agent?: Agent): ClientRequest => {
    const headers = { 'content-type': 'application/json' };
    const outgoing = httpRequest({
      host: '127.0.0.1',
      port: server.port,
      path,
      method: 'POST',
      headers,
      ...(agent && { agent }),
    });
    outgoing.on('error', () => undefined); // the tests destroy their requests
    outgoing.end(JSON.stringify(body));
    return outgoing;
  };
  return { ...app, ...server, open };
}

async function response(request: ClientRequest): Promise<IncomingMessage> {
  const [incoming] = (await once(request, 'response')) as [IncomingMessage];
  return incoming.setEncoding('utf8');
}

async function text(incoming: IncomingMessage): Promise<string> {
  let all = '';
  for await (const chunk of incoming) all += String(chunk);
  return all;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(2);
}

const aborted = (signal: AbortSignal) => (signal.aborted ? Promise.resolve() : once(signal, 'abort'));

const BODIES: readonly (readonly [path: string, body: object])[] = [
  ['/generate', { inputs: 'a b c' }],
  ['/generate', { inputs: 'a b c', parameters: { best_of: 2, do_sample: true } }],
  ['/generate_stream', { inputs: 'a b c' }],
  ['/v1/completions', { model: '', prompt: ['a b c', 'd e f'] }],
  ['/v1/completions', { model: '', prompt: 'a b c', stream: true }],
  ['/v1/chat/completions', { model: '', messages: [{ role: 'user', content: 'a b' }], n: 2 }],
  ['/v1/chat/completions', { model: '', messages: [{ role: 'user', content: 'a b' }], stream: true }],
];

for (const [path, body] of BODIES) {
  test(`a client that goes away while queued aborts ${path} ${JSON.stringify(body).slice(0, 50)}`, async (t) => {
    const { generator, open, app, close } = await started(t);
    generator.hooks = { accept: (_request, signal) => aborted(signal) };
    const outgoing = open(path, body);
    await until(() => generator.calls.length > 0);
    outgoing.destroy();
    await Promise.all(generator.calls.map(({ signal }) => aborted(signal)));
    assert.equal(generator.tokenCount, 0);
    await close();
    assert.match(await (await app.request('/metrics')).text(), /lorax_request_failure\{err="dropped"\} 1/);
  });

  test(`a client that goes away in the middle aborts ${path} ${JSON.stringify(body).slice(0, 50)}`, async (t) => {
    const { generator, open, app, close } = await started(t);
    generator.hooks = { token: (index, _request, signal) => index === 1 && aborted(signal) };
    const outgoing = open(path, body);
    if (path.includes('stream') || 'stream' in body) await once(await response(outgoing), 'data');
    else await until(() => generator.tokenCount > 0);
    outgoing.destroy();
    await Promise.all(generator.calls.map(({ signal }) => aborted(signal)));
    assert.ok(generator.tokenCount <= generator.calls.length);
    await close();
    assert.match(await (await app.request('/metrics')).text(), /lorax_request_failure\{err="dropped"\} 1/);
  });
}

test('a finished request aborts nothing', async (t) => {
  const { generator, open } = await started(t);
  for (const [path, body] of BODIES) await text(await response(open(path, body)));
  assert.ok(generator.calls.every(({ signal }) => !signal.aborted));
});

test('a client that does not read stops the generation from being read', async (t) => {
  const tokenLimit = 20_000;
  const { generator, open } = await started(t);
  let pulledCount = 0;
  generator.generate = async (_request, signal) => ({
    promptTokens: 1,
    promptText: '',
    adapterGeneration: undefined,
    prompt: [],
    events: (async function* () {
      while (pulledCount < tokenLimit && !signal.aborted) {
        pulledCount++;
        const token = { id: 1, text: 'x'.repeat(16 * 1024), logprob: 0, special: false, skipped: false };
        yield { kind: 'token' as const, token };
      }
    })(),
  });
  const outgoing = open('/generate_stream', { inputs: 'a' });
  const incoming = await response(outgoing);
  incoming.pause();
  let before = -1;
  while (before !== pulledCount) {
    before = pulledCount;
    await delay(200);
  }
  assert.ok(pulledCount > 0 && pulledCount < tokenLimit, String(pulledCount));
  outgoing.destroy();
});

test('a silence on a stream is filled with comments', async (t) => {
  const { generator, open } = await started(t, { options: { keepAliveMs: 2 } });
  let comments = 0;
  generator.hooks = { token: async (index) => index === 1 && until(() => comments > 2) };
  const incoming = await response(open('/generate_stream', { inputs: 'a b' }));
  let all = '';
  for await (const chunk of incoming) {
    all += String(chunk);
    comments = all.split('\n\n').filter((block) => block === ':').length;
  }
  assert.ok(comments > 2);
  assert.equal(parseEvents(all).length, 3);
});

test('an error in mid-stream is the last event, in each family’s form', async (t) => {
  const { generator, open } = await started(t);
  generator.hooks = {
    token: (index) => index === 1 && Promise.reject(new LoraxError('GENERATION', { reason: 'device lost' })),
  };
  const message = 'the request failed during generation: device lost';
  const native = await response(open('/generate_stream', { inputs: 'a b' }));
  assert.equal(native.statusCode, 200);
  assert.deepEqual(parseEvents(await text(native)).slice(1), [{ error: message, error_type: 'generation' }]);
  const openai = await response(open('/v1/completions', { model: '', prompt: 'a b', stream: true }));
  assert.deepEqual(parseEvents(await text(openai)).slice(1), [
    { error: { message, type: 'server_error', param: null, code: 'generation' } },
  ]);
});

test('an error at the first token keeps its status', async (t) => {
  const { generator, open } = await started(t);
  generator.hooks = { token: () => Promise.reject(new LoraxError('GENERATION', { reason: 'device lost' })) };
  for (const [path, body] of BODIES) assert.equal((await response(open(path, body))).statusCode, 424);
  assert.ok(generator.calls.every(({ signal }) => signal.aborted));
});

test('close lets a stream end, takes no new request, and does not wait for idle connections', async (t) => {
  const { generator, open, close, port } = await started(t, { drainMs: 60_000 });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  await text(await response(open('/generate', { inputs: 'a' }, agent)));
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  generator.hooks = { token: (index) => index === 1 && gate };
  const incoming = await response(open('/generate_stream', { inputs: 'a b' }));
  await once(incoming, 'readable');
  const closing = close();
  const refused = connect(port, '127.0.0.1');
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
  go();
  assert.equal(parseEvents(await text(incoming)).length, 3);
  await closing;
});

test('close cuts what does not end in time', async (t) => {
  const { generator, open, close } = await started(t, { drainMs: 1 });
  generator.hooks = { token: (index, _request, signal) => index === 1 && aborted(signal) };
  const incoming = await response(open('/generate_stream', { inputs: 'a b' }));
  const [cut] = await Promise.allSettled([text(incoming), close()]);
  assert.equal(cut.status, 'rejected');
  await Promise.all(generator.calls.map(({ signal }) => aborted(signal)));
});

test('a body that grows past the limit is answered with 413', async (t) => {
  const { port, serving } = await started(t);
  const headers = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' };
  const outgoing = httpRequest({ host: '127.0.0.1', port, path: '/generate', method: 'POST', headers });
  outgoing.write('{"inputs":"');
  outgoing.end('a'.repeat(serving.limits.maxBodyBytes) + '"}');
  const incoming = await response(outgoing);
  assert.equal(incoming.statusCode, 413);
  assert.match(await text(incoming), /larger than 65536 bytes/);
});

test('what is not an HTTP request gets a 400 in JSON where there is one to answer', async (t) => {
  const { port } = await started(t);
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  socket.end('GET / HTTP/1.1\r\nHost: not a host\r\nConnection: close\r\n\r\n');
  let all = '';
  for await (const chunk of socket) all += String(chunk);
  assert.match(all, /^HTTP\/1\.1 400 /);
  assert.match(all, /"error_type":"validation"/);
});

test('an address in use is the system’s error', async (t) => {
  const { port, app } = await started(t);
  await assert.rejects(listen(app, { hostname: '127.0.0.1', port }), { code: 'EADDRINUSE', syscall: 'listen' });
});

test('the process keeps its own Request and Response', async (t) => {
  const before = [globalThis.Request, globalThis.Response];
  await started(t);
  assert.deepEqual([globalThis.Request, globalThis.Response], before);
});

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import type { DistillOptions } from '../config/train-options.ts';
import { temporaryFolder } from '../sources/testing/temporary-folder.ts';
import { AnsweringServer } from './answering-server.ts';
import { distill, type Distilled } from './distill.ts';
import { silent } from './testing/training-setting.ts';

interface Asked {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: {
    readonly model: string;
    readonly temperature: number;
    readonly max_tokens: number;
    readonly messages?: readonly { readonly role: string; readonly content: string }[];
    readonly prompt?: string;
  };
}

interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}

/** Answers the last message, or the prompt, in capitals, unless told otherwise. */
const capitals = ({ body: { messages, prompt } }: Asked): Reply =>
  messages
    ? { body: { choices: [{ message: { role: 'assistant', content: messages.at(-1)!.content.toUpperCase() } }] } }
    : { body: { choices: [{ text: prompt!.toUpperCase() }] } };

interface World {
  readonly asked: Asked[];
  readonly folder: string;
  readonly run: (changed?: Partial<DistillOptions>, signal?: AbortSignal) => Promise<Distilled>;
  readonly output: () => unknown;
}

async function world(
  context: TestContext,
  records: readonly unknown[],
  reply: (asked: Asked) => Reply | Promise<Reply> = capitals,
): Promise<World> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    void json(request).then(async (body) => {
      const now: Asked = {
        path: request.url!,
        authorization: request.headers.authorization,
        body: body as Asked['body'],
      };
      asked.push(now);
      const { status = 200, headers = {}, body: answer = {} } = await reply(now);
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(answer));
    });
  });
  const url = `${await listen(server)}/v1`;
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const folder = temporaryFolder(context);
  const [inputFilename, outputFilename] = [join(folder, 'in.json'), join(folder, 'out.json')];
  writeFileSync(inputFilename, JSON.stringify(records));
  const wanted: DistillOptions = {
    ...{ inputFilename, outputFilename, url, limit: undefined, model: undefined, apiKey: undefined },
    ...{ concurrency: 3, retries: 2, requestTimeoutS: 10, plainText: false, temperature: 0, maxTokens: 64 },
  };
  const log = { info: () => undefined, warn: () => undefined };
  return {
    asked,
    folder,
    run: (changed = {}, signal = new AbortController().signal) =>
      distill({ ...wanted, ...changed }, { log, progress: silent, signal }),
    output: () => JSON.parse(readFileSync(outputFilename, 'utf8')) as unknown,
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const questions = (count: number) => Array.from({ length: count }, (_, i) => ({ messages: [user(`question ${i}`)] }));

describe('distillation', () => {
  it('replaces every answer by the server’s own, which the next question follows', async (context) => {
    const { run, output, asked } = await world(context, [
      { messages: [{ role: 'system', content: 'Shout.' }, user('one'), assistant('1'), user('two'), assistant('2')] },
      {
        conversations: [
          { from: 'gpt', value: 'cut' },
          { from: 'human', value: 'three' },
        ],
      },
    ]);
    assert.deepEqual(await run({ concurrency: 1 }), { recordCount: 2, cutShort: 0 });
    assert.deepEqual(output(), [
      [{ role: 'system', content: 'Shout.' }, user('one'), assistant('ONE'), user('two'), assistant('TWO')],
      [user('three'), assistant('THREE')],
    ]);
    assert.deepEqual(asked[1]!.body.messages!.slice(1), [user('one'), assistant('ONE'), user('two')]);
    assert.deepEqual(asked.map(({ path }) => path).slice(0, 1), ['/v1/chat/completions']);
    const { model, temperature, max_tokens: maxTokens } = asked[0]!.body;
    assert.deepEqual([model, temperature, maxTokens], ['', 0, 64]);
  });

  it('lets the model go on with plain text', async (context) => {
    const records = [{ prompt: 'once ' }, { messages: [user('upon '), assistant('x')] }];
    const { run, output, asked } = await world(context, records);
    await run({ plainText: true, model: 'tales', apiKey: 'secret', temperature: 0.5 });
    assert.deepEqual(output(), [
      { prompt: 'once ', completion: 'ONCE ' },
      { prompt: 'upon ', completion: 'UPON ' },
    ]);
    const [{ path, authorization, body }] = asked as [Asked];
    assert.deepEqual(
      [path, authorization, body.model, body.temperature],
      [...['/v1/completions', 'Bearer secret', 'tales', 0.5]],
    );
  });

  it('takes the first conversations only, where a limit is set, and keeps their order', async (context) => {
    const later = async (asked: Asked): Promise<Reply> => {
      const number = Number(/\d+/.exec(asked.body.messages![0]!.content));
      await new Promise((resolve) => setTimeout(resolve, 5 * (8 - number)));
      return capitals(asked);
    };
    const { run, output } = await world(context, questions(9), later);
    assert.deepEqual(await run({ limit: 7, concurrency: 7 }), { recordCount: 7, cutShort: 0 });
    assert.deepEqual(
      output(),
      questions(7).map(({ messages: [asked] }) => [asked, assistant(asked!.content.toUpperCase())]),
    );
  });

  it('never has more conversations in flight than allowed', async (context) => {
    let flying = 0;
    let most = 0;
    let full = (): void => undefined;
    const isFull = new Promise<void>((resolve) => (full = resolve));
    const { run } = await world(context, questions(12), async (asked) => {
      most = Math.max(most, ++flying);
      if (flying === 4) full();
      await isFull;
      await new Promise((resolve) => setTimeout(resolve, 5));
      flying--;
      return capitals(asked);
    });
    await run({ concurrency: 4 });
    assert.equal(most, 4);
  });

  it('a conversation that is refused ends before the refusal; the others go on', async (context) => {
    const records = [
      { messages: [user('fine'), assistant(''), user('too long'), assistant(''), user('never asked')] },
      { messages: [user('too long')] },
      { messages: [user('fine')] },
    ];
    const refuse = (asked: Asked): Reply =>
      asked.body.messages!.at(-1)!.content === 'too long'
        ? { status: 422, body: { error: 'length' } }
        : capitals(asked);
    const { run, output, asked } = await world(context, records, refuse);
    assert.deepEqual(await run(), { recordCount: 2, cutShort: 2 });
    assert.deepEqual(output(), [
      [user('fine'), assistant('FINE')],
      [user('fine'), assistant('FINE')],
    ]);
    assert.equal(asked.length, 4, 'a refusal is final');
  });

  it('goes on where an earlier run ended, without asking again', async (context) => {
    let failing = true;
    const flaky = (asked: Asked): Reply =>
      failing && asked.body.messages![0]!.content === 'question 4' ? { status: 404 } : capitals(asked);
    const { run, output, asked, folder } = await world(context, questions(6), flaky);
    await assert.rejects(
      run({ concurrency: 1 }),
      (error: unknown) => error instanceof LoraxError && /404/.test(error.message),
    );
    assert.ok(!existsSync(join(folder, 'out.json')));
    // As a crash in the middle of a line leaves it.
    writeFileSync(join(folder, 'out.json.partial.jsonl'), '{"index":5,"rec', { flag: 'a' });
    failing = false;
    assert.deepEqual(await run({ concurrency: 1 }), { recordCount: 6, cutShort: 0 });
    assert.equal((output() as unknown[]).length, 6);
    const asks = asked.map(({ body }) => body.messages![0]!.content);
    assert.deepEqual(
      asks,
      [0, 1, 2, 3, 4, 4, 5].map((number) => `question ${number}`),
    );
    assert.ok(!existsSync(join(folder, 'out.json.partial.jsonl')));
    await assert.rejects(run(), /--output-filename: out\.json exists already/);
  });

  it('what was left unfinished with other settings is refused', async (context) => {
    const { run } = await world(context, questions(2), () => ({ status: 404 }));
    await assert.rejects(run());
    await assert.rejects(run({ maxTokens: 65 }), /--output-filename: out\.json\.partial\.jsonl holds answers to other/);
  });

  it('stops when it is told to', async (context) => {
    const stop = new AbortController();
    const { run, asked } = await world(context, questions(50), (now) => {
      if (asked.length === 5) stop.abort(new Error('enough'));
      return capitals(now);
    });
    await assert.rejects(run({ concurrency: 1 }, stop.signal), { message: 'enough' });
    assert.ok(asked.length <= 6);
  });
});

describe('the server that answers', () => {
  const options = { model: undefined, apiKey: undefined, temperature: 0, maxTokens: 1, retries: 3, timeoutMs: 5000 };

  async function serverWith(context: TestContext, replies: Reply[]): Promise<{ url: string; count: () => number }> {
    let count = 0;
    const server = createServer((request, response) => {
      request.resume();
      const { status = 200, headers = {}, body = {} } = replies[count++]!;
      response.writeHead(status, headers).end(JSON.stringify(body));
    });
    const url = await listen(server);
    context.after(() => server.close());
    return { url, count: () => count };
  }

  const { signal } = new AbortController();
  const good: Reply = { body: { choices: [{ text: 'yes' }] } };

  it('is asked again where it is overloaded, and believed when it comes round', async (context) => {
    const { url, count } = await serverWith(context, [{ status: 429 }, { status: 503 }, good]);
    assert.equal(await new AnsweringServer({ ...options, url, backoffMs: 1 }).complete('', signal), 'yes');
    assert.equal(count(), 3);
  });

  it('is given up after so many attempts', async (context) => {
    const { url, count } = await serverWith(
      context,
      Array.from({ length: 9 }, () => ({ status: 500 })),
    );
    await assert.rejects(new AnsweringServer({ ...options, url, backoffMs: 1 }).complete('', signal), /answered 500/);
    assert.equal(count(), 4);
  });

  it('is not asked again where every request would fail, or the answer is another protocol’s', async (context) => {
    for (const reply of [{ status: 401 }, { status: 404 }, { body: { text: 'yes' } }]) {
      const { url, count } = await serverWith(context, [reply]);
      await assert.rejects(
        new AnsweringServer({ ...options, url, backoffMs: 1 }).complete('', signal),
        /training stopped/,
      );
      assert.equal(count(), 1);
    }
  });

  it('that is not there is named', async () => {
    const server = createServer();
    const url = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const asking = new AnsweringServer({ ...options, url, retries: 1, backoffMs: 1 }).chat([], signal);
    await assert.rejects(asking, new RegExp(`${url}/chat/completions cannot be reached: .*ECONNREFUSED`));
  });

  it('is found by its base or by either route, and only over HTTP', async (context) => {
    for (const route of ['/v1', '/v1/', '/v1/completions', '/v1/chat/completions']) {
      const { url } = await serverWith(context, [good]);
      assert.equal(await new AnsweringServer({ ...options, url: url + route }).complete('', signal), 'yes');
    }
    for (const url of ['nowhere', 'file:///etc/passwd']) {
      assert.throws(() => new AnsweringServer({ ...options, url }), /option --url/);
    }
  });
});

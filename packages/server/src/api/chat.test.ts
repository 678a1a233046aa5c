import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { events, json, testApp } from './testdata/client.ts';

const HELLO = [{ role: 'user', content: 'hello' }];

interface Chunk {
  readonly id: string;
  readonly object: string;
  readonly choices: {
    readonly index: number;
    readonly delta: { readonly role?: string; readonly content?: string };
    readonly finish_reason: string | null;
    readonly logprobs: { readonly content: { readonly token: string }[] } | null;
  }[];
  readonly usage?: object | null;
}

const chat = async (app: ReturnType<typeof testApp>, body: object) =>
  json(app.post('/v1/chat/completions', { model: '', messages: HELLO, ...body }));

test('an answer has OpenAI’s shape', async () => {
  const app = testApp();
  const { id, created, ...rest } = (await chat(app, { model: 'org/poet' })) as Record<string, unknown>;
  assert.match(String(id), /^chatcmpl-[0-9a-f]{32}$/);
  assert.ok(Number(created) > 1_700_000_000);
  assert.deepEqual(rest, {
    object: 'chat.completion',
    model: 'org/poet',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: '[user] hello', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 },
  });
  assert.equal(app.generator.calls[0]?.request.addSpecialTokens, false);
});

test('tokens are sampled unless the temperature is 0', async () => {
  const app = testApp();
  await chat(app, {});
  await chat(app, { temperature: null });
  await chat(app, { temperature: 0 });
  assert.deepEqual(
    app.generator.calls.map(({ request: { sampling } }) => [sampling.doSample, sampling.temperature]),
    [
      [true, 1],
      [true, 1],
      [false, 0],
    ],
  );
});

test('content may be text, parts or null, and the rest of a message goes to the template', async () => {
  const app = testApp();
  const messages = [
    { role: 'system', content: 'be brief' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'one ' },
        { type: 'text', text: 'two' },
      ],
      name: 'ann',
    },
    { role: 'assistant', content: null },
  ];
  await chat(app, { messages, guideline: 'g' });
  const prompt = app.generator.calls[0]?.request.prompt;
  assert.deepEqual(prompt && 'chat' in prompt && prompt.chat, {
    messages: [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'one two', name: 'ann' },
      { role: 'assistant', content: '' },
    ],
    addGenerationPrompt: true,
    variables: { guideline: 'g' },
  });
});

test('a template that fails is a 422 of its own type', async () => {
  const app = testApp();
  app.generator.hooks = {
    accept: () => Promise.reject(new LoraxError('TEMPLATE', { reason: 'roles must alternate' })),
  };
  const response = await app.post('/v1/chat/completions', { model: '', messages: HELLO, stream: true });
  assert.equal(response.status, 422);
  const { error } = (await json(response)) as { error: { message: string; code: string } };
  assert.equal(error.code, 'template_error');
  assert.match(error.message, /roles must alternate/);
});

test('a stream gives the role once a choice, then text, reason, usage and [DONE]', async () => {
  const app = testApp();
  const body = { model: '', messages: HELLO, n: 2, seed: 5, stream: true, stream_options: { include_usage: true } };
  const received = await events(app.post('/v1/chat/completions', body));
  assert.equal(received.pop(), '[DONE]');
  const chunks = received as Chunk[];
  const last = chunks.pop();
  assert.deepEqual(last?.choices, []);
  assert.deepEqual(last?.usage, { prompt_tokens: 2, completion_tokens: 6, total_tokens: 8 });
  assert.ok(chunks.every(({ object, usage }) => object === 'chat.completion.chunk' && usage === null));
  for (const index of [0, 1]) {
    const deltas = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
    assert.deepEqual(
      deltas.map(({ delta, finish_reason }) => [delta, finish_reason]),
      [
        [{ role: 'assistant', content: '' }, null],
        [{ content: '[user]' }, null],
        [{ content: ' hello' }, null],
        [{}, 'stop'],
      ],
    );
  }
  assert.deepEqual(
    app.generator.calls.map(({ request }) => request.sampling.seed),
    [5n, 6n],
  );
});

test('the characters of a chat are those of the prompt that its template made', async () => {
  const app = testApp();
  for (const stream of [false, true]) {
    const response = await app.post('/v1/chat/completions', { model: '', messages: HELLO, n: 2, stream });
    assert.equal(response.headers.get('x-compute-characters'), String('[user] hello'.length));
    await response.text();
  }
  const [first, second] = app.generator.calls.map(({ request }) => request.prompt);
  assert.equal(first, second, 'the sequences share one chat, so that it is rendered once');
});

test('max_completion_tokens wins over max_tokens', async () => {
  const app = testApp();
  await chat(app, { max_tokens: 9, max_completion_tokens: 1 });
  await chat(app, { max_tokens: 9 });
  assert.deepEqual(
    app.generator.calls.map(({ request }) => request.maxNewTokens),
    [1, 9],
  );
});

test('logprobs carry bytes and top_logprobs, whole and streamed', async () => {
  const app = testApp();
  const body = { messages: [{ role: 'u', content: 'é' }], logprobs: true, top_logprobs: 1, temperature: 0 };
  const whole = (await chat(app, body)) as { choices: { logprobs: { content: object[]; refusal: null } }[] };
  const [, accented] = whole.choices[0]?.logprobs.content ?? [];
  assert.deepEqual(accented, {
    token: ' é',
    logprob: -0.8,
    bytes: [0x20, 0xc3, 0xa9],
    top_logprobs: [{ token: ' alt0', logprob: -0.5, bytes: [0x20, 0x61, 0x6c, 0x74, 0x30] }],
  });
  const streamed = await events(app.post('/v1/chat/completions', { model: '', ...body, stream: true }));
  const parts = (streamed.slice(0, -1) as Chunk[]).flatMap(({ choices }) => choices);
  assert.deepEqual(
    parts.flatMap(({ logprobs }) => logprobs?.content ?? []),
    whole.choices[0]?.logprobs.content,
  );
});

const REJECTED: readonly (readonly [body: object, param: string])[] = [
  [{ messages: [] }, 'messages'],
  [{ messages: 'hi' }, 'messages'],
  [{ messages: [{ content: 'x' }] }, 'messages[0].role'],
  [{ messages: [...HELLO, { role: 'user', content: 7 }] }, 'messages[1].content'],
  [{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }, 'messages[0].content'],
  [{ tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools'],
  [{ tool_choice: { type: 'function', function: { name: 'f' } } }, 'tool_choice'],
  [{ response_format: { type: 'json_object' } }, 'response_format'],
  [{ functions: [{ name: 'f' }] }, 'functions'],
  [{ audio: { voice: 'x' } }, 'audio'],
  [{ modalities: ['text', 'audio'] }, 'modalities'],
  [{ logit_bias: { 5: 1 } }, 'logit_bias'],
  [{ top_logprobs: 1 }, 'top_logprobs'],
  [{ logprobs: true, top_logprobs: 6 }, 'top_logprobs'],
  [{ max_tokens: 0 }, 'max_tokens'],
  [{ n: 5 }, 'n'],
  [{ stream_options: {} }, 'stream_options'],
];

for (const [body, param] of REJECTED) {
  test(`422 names ${param} for ${JSON.stringify(body).slice(0, 60)}`, async () => {
    const { post } = testApp();
    const response = await post('/v1/chat/completions', { model: '', messages: HELLO, ...body });
    assert.equal(response.status, 422);
    const { error } = (await json(response)) as { error: { param: string } };
    assert.equal(error.param, param);
  });
}

test('what asks for nothing is accepted', async () => {
  const { post } = testApp();
  const trivial = {
    tools: [],
    tool_choice: 'none',
    functions: null,
    response_format: { type: 'text' },
    modalities: ['text'],
    logit_bias: {},
    stop: null,
    top_logprobs: null,
  };
  assert.equal((await post('/v1/chat/completions', { model: '', messages: HELLO, ...trivial })).status, 200);
});

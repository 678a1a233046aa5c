import assert from 'node:assert/strict';
import { test } from 'node:test';
import { events, json, testApp } from './testdata/client.ts';

interface Choice {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly logprobs: Logprobs | null;
}

interface Logprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[] | null;
  readonly text_offset: number[];
}

interface Completion {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly model: string;
  readonly choices: Choice[];
  readonly usage?: object | null;
}

const complete = async (app: ReturnType<typeof testApp>, body: object) =>
  (await json(app.post('/v1/completions', { model: '', ...body }))) as Completion;

test('a completion has OpenAI’s shape', async () => {
  const app = testApp();
  const { id, created, ...rest } = await complete(app, { model: 'demo/base', prompt: 'a b c' });
  assert.match(id, /^cmpl-[0-9a-f]{32}$/);
  assert.ok(Math.abs(created - Date.now() / 1000) < 60);
  assert.deepEqual(rest, {
    object: 'text_completion',
    model: 'demo/base',
    choices: [{ index: 0, text: 'a b c', logprobs: null, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
  });
  assert.equal(app.generator.calls[0]?.request.adapter, undefined);
  assert.equal(app.generator.calls[0]?.request.sampling.doSample, false);
});

test('model chooses the adapter, adapter_id wins, and the answer repeats what was sent', async () => {
  const app = testApp();
  assert.equal((await complete(app, { model: 'org/poet', prompt: 'a' })).model, 'org/poet');
  await complete(app, { model: 'org/poet', adapter_id: 'other', adapter_source: 's3', api_token: 't', prompt: 'a' });
  await complete(app, { model: 'org/poet', adapter_id: '__base_model__', prompt: 'a' });
  assert.deepEqual(
    app.generator.calls.map(({ request }) => request.adapter),
    [{ id: 'org/poet', source: 'local' }, { id: 'other', source: 's3', apiToken: 't' }, undefined],
  );
});

test('the four shapes of a prompt, each with n choices in order', async () => {
  const app = testApp();
  const { choices, usage } = await complete(app, { prompt: ['a b', 'c'], n: 2 });
  assert.deepEqual(
    choices.map(({ index, text }) => [index, text]),
    [
      [0, 'a b'],
      [1, 'a b'],
      [2, 'c'],
      [3, 'c'],
    ],
  );
  assert.deepEqual(usage, { prompt_tokens: 3, completion_tokens: 10, total_tokens: 13 });
  assert.deepEqual(
    (await complete(app, { prompt: [5, 6] })).choices.map(({ text }) => text),
    [' t5 t6'],
  );
  assert.deepEqual(
    (await complete(app, { prompt: [[5], [6, 7]] })).choices.map(({ text }) => text),
    [' t5', ' t6 t7'],
  );
});

test('every prompt of a list gets the seeds that it would get alone', async () => {
  const app = testApp();
  await complete(app, { prompt: ['a', 'b'], n: 2, seed: 7 });
  assert.deepEqual(
    app.generator.calls.map(({ request }) => request.sampling.seed),
    [7n, 8n, 7n, 8n],
  );
  assert.ok(app.generator.calls.every(({ request }) => request.sampling.doSample));
});

test('best_of keeps the n best and counts the tokens of all', async () => {
  const app = testApp();
  const { choices, usage } = await complete(app, { prompt: 'a b', n: 1, best_of: 3, seed: 3, logprobs: 0 });
  assert.equal(choices.length, 1);
  assert.deepEqual(usage, { prompt_tokens: 2, completion_tokens: 9, total_tokens: 11 });
});

test('the stop string is left out and the reason is stop, wherever tokens end', async () => {
  const app = testApp();
  for (const stop of ['o thr', ['never', 'o thr']]) {
    const [choice] = (await complete(app, { prompt: 'one two three', stop })).choices;
    assert.equal(choice?.text, 'one tw');
    assert.equal(choice?.finish_reason, 'stop');
  }
  const [short] = (await complete(app, { prompt: 'one two three', max_tokens: 1 })).choices;
  assert.equal(short?.finish_reason, 'length');
});

test('a stream holds back what may begin the stop string, and gives it when it does not', async () => {
  const app = testApp();
  const stream = async (stop: string) =>
    (await events(
      app.post('/v1/completions', { model: '', prompt: 'one two three', stop, stream: true }),
    )) as Completion[];
  const texts = (chunks: Completion[]) => chunks.slice(0, -1).map(({ choices }) => choices[0]?.text);
  assert.deepEqual(texts(await stream(' two thr')), ['one', '']);
  assert.deepEqual(texts(await stream(' two x')), ['one', ' two three', '']);
  assert.deepEqual(texts(await stream(' three!')), ['one', ' two', ' three', '']);
});

test('logprobs: tokens, offsets in characters, and the chosen token among the top', async () => {
  const app = testApp();
  const { choices } = await complete(app, { prompt: '😀 b', logprobs: 1 });
  assert.deepEqual(choices[0]?.logprobs, {
    tokens: ['😀', ' b'],
    token_logprobs: [-0.1, -0.8],
    top_logprobs: [
      { '😀': -0.1, ' alt0': -0.5 },
      { ' b': -0.8, ' alt0': -0.5 },
    ],
    text_offset: [0, 1],
  });
  const none = await complete(app, { prompt: 'a', logprobs: 0 });
  assert.equal(none.choices[0]?.logprobs?.top_logprobs, null);
});

test('log-probabilities end where the text does', async () => {
  const app = testApp();
  const { choices } = await complete(app, { prompt: 'one two three four', stop: 'wo th', logprobs: 0 });
  assert.equal(choices[0]?.text, 'one t');
  assert.deepEqual(choices[0]?.logprobs?.tokens, ['one', ' two']);
});

test('echo puts the prompt in front, with its log-probabilities; max_tokens 0 asks for nothing else', async () => {
  const app = testApp();
  const body = { prompt: 'one two', echo: true, logprobs: 1, max_tokens: 0 };
  const { choices, usage } = await complete(app, body);
  assert.deepEqual(choices, [
    {
      index: 0,
      text: 'one two',
      finish_reason: 'length',
      logprobs: {
        tokens: ['one', ' two'],
        token_logprobs: [null, -1],
        top_logprobs: [null, null],
        text_offset: [0, 3],
      },
    },
  ]);
  assert.deepEqual(usage, { prompt_tokens: 2, completion_tokens: 0, total_tokens: 2 });
  const longer = await complete(app, { ...body, max_tokens: 1 });
  assert.equal(longer.choices[0]?.text, 'one twoone');
  assert.deepEqual(longer.choices[0]?.logprobs?.text_offset, [0, 3, 7]);
});

test('a stream interleaves its choices and ends with reason, usage and [DONE]', async () => {
  const app = testApp();
  const body = { model: '', prompt: ['a b', 'c'], stream: true, stream_options: { include_usage: true } };
  const received = await events(app.post('/v1/completions', body));
  assert.equal(received.pop(), '[DONE]');
  const chunks = received as Completion[];
  const last = chunks.pop();
  assert.deepEqual(last?.choices, []);
  assert.deepEqual(last?.usage, { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 });
  assert.ok(chunks.every(({ usage, id, object }) => usage === null && id === last?.id && object === 'text_completion'));
  const choices = chunks.flatMap((chunk) => chunk.choices);
  const order = choices.map(({ index }) => index).join('');
  assert.match(order, /01/);
  assert.match(order, /10/);
  for (const [index, text] of ['a b', 'c'].entries()) {
    const own = choices.filter((choice) => choice.index === index);
    assert.equal(own.map((choice) => choice.text).join(''), text);
    assert.deepEqual(
      own.map((choice) => choice.finish_reason),
      [...own.slice(1).map(() => null), 'stop'],
    );
  }
});

test('a stream with echo and logprobs adds up to the whole answer', async () => {
  const app = testApp();
  const body = { model: '', prompt: 'one two', echo: true, logprobs: 1, stop: ' two' };
  const whole = (await complete(app, body)).choices[0];
  const received = await events(app.post('/v1/completions', { ...body, stream: true }));
  const choices = (received.slice(0, -1) as Completion[]).flatMap((chunk) => chunk.choices);
  assert.equal(choices.map(({ text }) => text).join(''), whole?.text);
  const parts = choices.flatMap(({ logprobs }) => (logprobs === null ? [] : [logprobs]));
  assert.deepEqual(
    parts.flatMap(({ text_offset }) => text_offset),
    whole?.logprobs?.text_offset,
  );
  assert.deepEqual(
    parts.flatMap(({ tokens }) => tokens),
    whole?.logprobs?.tokens,
  );
});

test('without include_usage a chunk has no usage', async () => {
  const received = await events(testApp().post('/v1/completions', { model: '', prompt: 'a', stream: true }));
  for (const chunk of received.slice(0, -1)) assert.ok(!('usage' in (chunk as object)));
});

const REJECTED: readonly (readonly [body: object, param: string])[] = [
  [{}, 'prompt'],
  [{ prompt: '' }, 'prompt'],
  [{ prompt: [] }, 'prompt'],
  [{ prompt: ['a', ''] }, 'prompt[1]'],
  [{ prompt: ['a', 1] }, 'prompt'],
  [{ prompt: [1, 'a'] }, 'prompt[1]'],
  [{ prompt: [1, 1000] }, 'prompt[1]'],
  [{ prompt: [1, -1] }, 'prompt[1]'],
  [{ prompt: [1, 1.5] }, 'prompt[1]'],
  [{ prompt: [[]] }, 'prompt[0]'],
  [{ prompt: [[1], 2] }, 'prompt'],
  [{ prompt: { text: 'a' } }, 'prompt'],
  [{ prompt: null }, 'prompt'],
  [{ prompt: Array(9).fill('a') }, 'prompt'],
  [{ prompt: ['a', 'b', 'c'], n: 3 }, 'n'],
  [{ prompt: 'a', n: 5 }, 'n'],
  [{ prompt: 'a', n: 0 }, 'n'],
  [{ prompt: 'a', n: 2, best_of: 1 }, 'best_of'],
  [{ prompt: 'a', best_of: 5 }, 'best_of'],
  [{ prompt: 'a', best_of: 2, stream: true }, 'best_of'],
  [{ prompt: 'a', max_tokens: 0 }, 'max_tokens'],
  [{ prompt: 'a', logprobs: 6 }, 'logprobs'],
  [{ prompt: 'a', suffix: 'x' }, 'suffix'],
  [{ prompt: 'a', logit_bias: { 5: 1 } }, 'logit_bias'],
  [{ prompt: 'a', stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  [{ prompt: 'a', stop: '' }, 'stop'],
  [{ prompt: 'a', stream_options: { include_usage: true } }, 'stream_options'],
  [{ prompt: 'a', temperature: -1 }, 'temperature'],
  [{ prompt: 'a', adapter_source: 'x' }, 'adapter_source'],
  [{ prompt: 'a', model: 7 }, 'model'],
];

for (const [body, param] of REJECTED) {
  test(`422 names ${param} for ${JSON.stringify(body).slice(0, 60)}`, async () => {
    const { post } = testApp();
    const response = await post('/v1/completions', { model: '', ...body });
    assert.equal(response.status, 422);
    const { error } = (await json(response)) as {
      error: { message: string; type: string; param: string; code: string };
    };
    assert.equal(error.param, param);
    assert.equal(error.type, 'invalid_request_error');
    assert.ok(error.message.startsWith(`\`${param}\` `));
  });
}

test('what asks for nothing is accepted', async () => {
  const { post } = testApp();
  const body = { model: '', prompt: 'a', suffix: '', logit_bias: {}, user: 'me', stop: null, n: null, seed: null };
  assert.equal((await post('/v1/completions', body)).status, 200);
});

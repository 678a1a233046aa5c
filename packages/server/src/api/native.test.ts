import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { events, json, testApp } from './testdata/client.ts';

test('/generate answers with the text alone, and greedily, when nothing else is asked for', async () => {
  const { post, generator } = testApp();
  const response = await post('/generate', { inputs: 'one two three' });
  assert.equal(response.status, 200);
  assert.deepEqual(await json(response), { generated_text: 'one two three' });
  const { request } = generator.calls[0] ?? assert.fail('no call');
  assert.equal(request.adapter, undefined);
  assert.equal(request.sampling.doSample, false);
  assert.equal(request.addSpecialTokens, true);
  assert.equal(request.maxNewTokens, undefined);
});

test('details carry counts, seed, prefill and every token', async () => {
  const { post } = testApp();
  const parameters = { decoder_input_details: true, max_new_tokens: 2, adapter_id: 'poet', return_k_alternatives: 1 };
  assert.deepEqual(await json(post('/generate', { inputs: 'one two three', parameters })), {
    generated_text: 'one two',
    details: {
      finish_reason: 'length',
      prompt_tokens: 3,
      generated_tokens: 2,
      skipped_tokens: 0,
      seed: null,
      adapter_generation: 'gen-4',
      prefill: [
        { id: 100, text: 'one', logprob: null },
        { id: 101, text: ' two', logprob: -1 },
        { id: 102, text: ' three', logprob: -2 },
      ],
      tokens: [token(10, 'one', -0.1), token(11, ' two', -0.8)],
    },
  });

  function token(id: number, text: string, logprob: number) {
    const alternative_tokens = [{ id: 500, text: ' alt0', logprob: -0.5 }];
    return { id, text, logprob, special: false, skipped: false, alternative_tokens };
  }
});

test('/ and /invocations answer with a list of one', async () => {
  const { post } = testApp();
  for (const path of ['/', '/invocations']) {
    assert.deepEqual(await json(post(path, { inputs: 'hi there', stream: false })), [{ generated_text: 'hi there' }]);
  }
});

test('a stream ends with the text and the details, and every event has one token', async () => {
  const { post } = testApp();
  const body = { inputs: 'a b', parameters: { details: true, seed: '18446744073709551615', do_sample: true } };
  const response = await post('/generate_stream', body);
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  assert.equal(response.headers.get('x-accel-buffering'), 'no');
  const received = await events(response);
  assert.deepEqual(
    received.map((event) => pick(event)),
    [
      ['a', null, null],
      [' b', null, null],
      [
        '</s>',
        'a b',
        {
          finish_reason: 'eos_token',
          prompt_tokens: 2,
          generated_tokens: 3,
          skipped_tokens: 0,
          seed: '18446744073709551615',
          adapter_generation: null,
        },
      ],
    ],
  );
});

function pick(event: unknown): unknown[] {
  const { token, generated_text, details } = event as {
    token: { text: string };
    generated_text: unknown;
    details: unknown;
  };
  return [token.text, generated_text, details];
}

test('an error before the first token keeps its status, in a stream too', async () => {
  const { post, generator } = testApp();
  generator.hooks = {
    accept: () => {
      throw new LoraxError('ADAPTER_NOT_FOUND', { adapterId: 'x', source: 'local' });
    },
  };
  const response = await post('/generate_stream', { inputs: 'a', parameters: { adapter_id: 'x' } });
  assert.equal(response.status, 404);
  assert.deepEqual(await json(response), {
    error: 'adapter `x` was not found in source `local`',
    error_type: 'adapter_not_found',
  });
});

test('the last token and the end become one event even where the end comes late', async () => {
  const { post, generator } = testApp();
  generator.hooks = { lateEnd: true };
  const received = await events(post('/generate_stream', { inputs: 'a b', parameters: { max_new_tokens: 2 } }));
  assert.deepEqual(
    received.map((event) => pick(event)),
    [
      ['a', null, null],
      [' b', null, null],
      ['', 'a b', null],
    ],
  );
});

test('native text keeps the stop string, return_full_text puts the prompt in front', async () => {
  const { post } = testApp();
  const parameters = { stop: [' t'], return_full_text: true, details: true };
  const body = (await json(post('/generate', { inputs: 'one two three', parameters }))) as {
    generated_text: string;
    details: { finish_reason: string };
  };
  assert.equal(body.generated_text, 'one two threeone t');
  assert.equal(body.details.finish_reason, 'stop_sequence');
});

test('best_of runs that many seeds and answers with the highest mean log-probability', async () => {
  const { post, generator } = testApp();
  const body = { inputs: 'a b c', parameters: { best_of: 3, temperature: 0.5, details: true } };
  const { details } = (await json(post('/generate', body))) as {
    details: { seed: number; tokens: Scored; best_of_sequences: { seed: number; tokens: Scored }[] };
  };
  const sequences = [details, ...details.best_of_sequences];
  assert.equal(sequences.length, 3);
  assert.equal(new Set(sequences.map(({ seed }) => seed)).size, 3);
  const means = sequences.map(({ tokens }) => tokens.reduce((sum, { logprob }) => sum + logprob, 0) / tokens.length);
  assert.deepEqual(
    means,
    means.toSorted((a, b) => b - a),
  );
  const seeds = generator.calls.map(({ request }) => request.sampling.seed);
  assert.deepEqual(seeds, [seeds[0], (seeds[0] ?? 0n) + 1n, (seeds[0] ?? 0n) + 2n]);
  assert.ok(generator.calls.every(({ request }) => request.sampling.doSample));
});

type Scored = { logprob: number }[];

test('one failing sequence of best_of aborts the others', async () => {
  const { post, generator } = testApp();
  generator.hooks = {
    token: (index, _request, signal) => {
      if (generator.calls[1]?.signal === signal && index === 1) throw new LoraxError('GENERATION', { reason: 'out' });
      return undefined;
    },
  };
  const response = await post('/generate', { inputs: 'a b c', parameters: { best_of: 2, do_sample: true } });
  assert.equal(response.status, 424);
  assert.ok(generator.calls.every(({ signal }) => signal.aborted));
});

test('headers tell model, adapter, counts and times', async () => {
  const { post } = testApp();
  const parameters = { adapter_id: 'org/poète 1', adapter_source: 'HUB', max_new_tokens: 2 };
  const { headers } = await post('/generate', { inputs: 'añb c d', parameters });
  const shown = ['x-compute-type', 'x-model-id', 'x-adapter-id', 'x-adapter-source', 'x-adapter-generation'];
  assert.deepEqual(
    shown.map((name) => headers.get(name)),
    ['cpu+optimized', 'demo/base', 'org/po%C3%A8te%201', 'hub', 'gen-11'],
  );
  const numbers = {
    'x-compute-characters': '7',
    'x-prompt-tokens': '3',
    'x-generated-tokens': '2',
    'x-skipped-tokens': '0',
    'x-total-tokens': '5',
    'x-validation-time': '1',
    'x-queue-time': '2',
    'x-inference-time': '30',
    'x-time-per-token': '15',
    'x-time-to-first-token': '10',
    'x-time-per-output-token': '20',
  };
  for (const [name, value] of Object.entries(numbers)) assert.equal(headers.get(name), value, name);
  assert.match(headers.get('x-total-time') ?? '', /^\d+$/);
  assert.equal(headers.get('x-compute-time'), headers.get('x-total-time'));
});

test('the base model has no adapter headers', async () => {
  const { post } = testApp();
  for (const adapter_id of [null, '', '__base_model__']) {
    const { headers } = await post('/generate', { inputs: 'a', parameters: { adapter_id, adapter_source: 'hub' } });
    assert.equal(headers.get('x-adapter-id'), null);
    assert.equal(headers.get('x-adapter-source'), null);
  }
});

test('the adapter token is api_token, or else the bearer token', async () => {
  const { post, generator } = testApp();
  const bearer = { authorization: 'Bearer from-header' };
  await post('/generate', { inputs: 'a', parameters: { adapter_id: 'x', api_token: 'from-body' } }, bearer);
  await post('/generate', { inputs: 'a', parameters: { adapter_id: 'x', api_token: null } }, bearer);
  await post('/generate', { inputs: 'a', parameters: { adapter_id: 'x' } }, { authorization: 'Basic abc' });
  assert.deepEqual(
    generator.calls.map(({ request }) => request.adapter),
    [
      { id: 'x', source: 'local', apiToken: 'from-body' },
      { id: 'x', source: 'local', apiToken: 'from-header' },
      { id: 'x', source: 'local' },
    ],
  );
});

test('what the Python client sends, every null included, is accepted', async () => {
  const { post } = testApp();
  const nulls = [
    'adapter_id adapter_source merged_adapters api_token max_new_tokens repetition_penalty seed temperature top_k top_p',
    'truncate typical_p best_of return_k_alternatives response_format',
  ];
  const parameters = {
    ...Object.fromEntries(nulls.flatMap((names) => names.split(' ')).map((name) => [name, null])),
    do_sample: false,
    ignore_eos_token: false,
    return_full_text: false,
    stop: [],
    watermark: false,
    details: true,
    decoder_input_details: false,
  };
  const [answer] = (await json(post('/', { inputs: 'hello you', parameters, stream: false }))) as [
    { generated_text: string; details: object },
  ];
  assert.equal(answer.generated_text, 'hello you');
  const required = ['finish_reason', 'prompt_tokens', 'generated_tokens', 'skipped_tokens', 'prefill', 'tokens'];
  for (const field of required) assert.ok(field in answer.details, field);
});

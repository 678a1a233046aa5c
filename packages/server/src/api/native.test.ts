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

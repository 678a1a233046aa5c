import assert from 'node:assert/strict';
import { test } from 'node:test';
import { json, testApp } from './testdata/client.ts';

/** Each rule of the behaviour spec's section 1.4, with the field that the message must name. */
const REJECTED: readonly (readonly [parameters: object, field: string])[] = [
  [{ best_of: 0 }, 'best_of'],
  [{ best_of: 5, do_sample: true }, 'best_of'],
  [{ best_of: 2 }, 'best_of'],
  [{ best_of: 2, temperature: 0 }, 'best_of'],
  [{ best_of: 2, do_sample: true, seed: 1 }, 'seed'],
  [{ temperature: -0.1 }, 'temperature'],
  [{ temperature: 'hot' }, 'temperature'],
  [{ repetition_penalty: 0 }, 'repetition_penalty'],
  [{ frequency_penalty: 2.1 }, 'frequency_penalty'],
  [{ frequency_penalty: -2.1 }, 'frequency_penalty'],
  [{ presence_penalty: 2.1 }, 'presence_penalty'],
  [{ presence_penalty: -2.1 }, 'presence_penalty'],
  [{ top_k: 0 }, 'top_k'],
  [{ top_k: 1.5 }, 'top_k'],
  [{ top_p: 0 }, 'top_p'],
  [{ top_p: 1.1 }, 'top_p'],
  [{ typical_p: 0 }, 'typical_p'],
  [{ typical_p: 1 }, 'typical_p'],
  [{ max_new_tokens: 0 }, 'max_new_tokens'],
  [{ max_new_tokens: 2 ** 32 }, 'max_new_tokens'],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  [{ stop: 'a' }, 'stop'],
  [{ stop: [''] }, 'stop[0]'],
  [{ stop: ['a', 7] }, 'stop[1]'],
  [{ stop: ['x'.repeat(1025)] }, 'stop[0]'],
  [{ truncate: 0 }, 'truncate'],
  [{ truncate: 101 }, 'truncate'],
  [{ return_k_alternatives: 0 }, 'return_k_alternatives'],
  [{ return_k_alternatives: 6 }, 'return_k_alternatives'],
  [{ seed: -1 }, 'seed'],
  [{ seed: 2 ** 53 }, 'seed'],
  [{ seed: '18446744073709551616' }, 'seed'],
  [{ seed: '1e3' }, 'seed'],
  [{ do_sample: 'yes' }, 'do_sample'],
  [{ adapter_id: 7 }, 'adapter_id'],
  [{ adapter_id: 'a\r\nb' }, 'adapter_id'],
  [{ adapter_id: 'x'.repeat(1025) }, 'adapter_id'],
  [{ adapter_id: 'x', adapter_source: 'ftp' }, 'adapter_source'],
  [{ response_format: { type: 'json_object', schema: null } }, 'response_format'],
];

for (const [parameters, field] of REJECTED) {
  test(`422 names ${field} for ${JSON.stringify(parameters).slice(0, 70)}`, async () => {
    const { post, generator } = testApp();
    const streams = 'best_of' in parameters ? [] : ['/generate_stream'];
    for (const path of ['/generate', '/', ...streams]) {
      const response = await post(path, { inputs: 'hello', parameters });
      assert.equal(response.status, 422);
      const body = (await json(response)) as { error: string; error_type: string };
      assert.equal(body.error_type, 'validation');
      assert.ok(body.error.startsWith(`\`${field}\` `), body.error);
    }
    assert.equal(generator.calls.length, 0);
  });
}

const ACCEPTED: readonly object[] = [
  { temperature: 0 },
  { top_p: 1 },
  { top_p: 0.99 },
  { frequency_penalty: 2, presence_penalty: -2 },
  { best_of: 1, seed: 7 },
  { truncate: 100 },
  { seed: 0 },
  { seed: Number.MAX_SAFE_INTEGER },
  { seed: '18446744073709551615' },
  { response_format: { type: 'text' } },
  { adapter_id: 'poète', adapter_source: 'Local' },
  { unknown_field: { of: 'any kind' } },
  { apply_chat_template: true },
];

for (const parameters of ACCEPTED) {
  test(`${JSON.stringify(parameters)} is accepted`, async () => {
    const { post } = testApp();
    assert.equal((await post('/generate', { inputs: 'hello', parameters })).status, 200);
  });
}

test('best_of is refused where the server allows one, and with a stream', async () => {
  const { serving, post } = testApp();
  const one = testApp({ limits: { ...serving.limits, maxBestOf: 1 } });
  const body = { inputs: 'a', parameters: { best_of: 2, do_sample: true } };
  assert.equal((await one.post('/generate', body)).status, 422);
  assert.equal((await post('/generate_stream', body)).status, 422);
  assert.equal((await post('/', { ...body, stream: true })).status, 422);
});

test('decoder_input_details is refused with a stream', async () => {
  const { post } = testApp();
  const body = { inputs: 'a', parameters: { decoder_input_details: true } };
  assert.equal((await post('/generate_stream', body)).status, 422);
  assert.equal((await post('/generate', body)).status, 200);
});

test('inputs must be there and not be empty', async () => {
  const { post } = testApp();
  const message = async (body: unknown) => ((await json(post('/generate', body))) as { error: string }).error;
  assert.equal(await message({ inputs: '' }), '`inputs` must not be empty');
  assert.equal(await message({}), '`inputs` is required');
  assert.equal(await message({ inputs: ['a'] }), '`inputs` must be a string');
  assert.equal(await message({ inputs: 'a', parameters: [] }), '`parameters` must be an object');
  assert.equal(await message([]), '`body` must be an object');
});

test('messages say the bound that was broken', async () => {
  const { post } = testApp();
  const message = async (parameters: object) =>
    ((await json(post('/generate', { inputs: 'a', parameters }))) as { error: string }).error;
  assert.equal(await message({ temperature: -1 }), '`temperature` must be at least 0');
  assert.equal(await message({ top_p: 0 }), '`top_p` must be greater than 0');
  assert.equal(await message({ typical_p: 1 }), '`typical_p` must be less than 1');
  assert.equal(await message({ top_k: 1.5 }), '`top_k` must be an integer');
  assert.equal(await message({ watermark: 1 }), '`watermark` must be true or false');
  assert.equal(await message({ adapter_source: 'x' }), '`adapter_source` must be one of hub, local, s3, pbase');
});

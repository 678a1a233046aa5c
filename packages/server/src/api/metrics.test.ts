import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { json, testApp } from './testdata/client.ts';

type Data = Record<string, { type: string; data: { key: string; value: number }[] }>;

const read = async ({ app }: ReturnType<typeof testApp>) => {
  const metrics = (await json(app.request('/metrics', { headers: { accept: 'application/json' } }))) as Data;
  return (name: string, key = '') => metrics[`lorax_${name}`]?.data.find((entry) => entry.key === key)?.value;
};

test('a request counts once, each of its sequences is observed', async () => {
  const app = testApp();
  await app.post('/generate', { inputs: 'a b', parameters: { best_of: 2, do_sample: true, max_new_tokens: 2 } });
  await (await app.post('/v1/completions', { model: '', prompt: 'a b', stream: true })).text();
  const value = await read(app);
  assert.equal(value('request_count'), 2);
  assert.equal(value('request_success'), 2);
  assert.equal(value('request_duration', 'count'), 2);
  assert.equal(value('request_generated_tokens', 'count'), 3);
  assert.equal(value('request_generated_tokens', 'sum'), 2 + 2 + 3);
  assert.equal(value('request_input_length', 'sum'), 6);
  assert.equal(value('request_max_new_tokens', 'sum'), 2 + 2 + 198);
  assert.equal(value('request_queue_duration', 'sum'), 0.006);
  assert.equal(value('request_inference_duration', 'sum'), 0.09);
  assert.equal(value('request_mean_time_per_token_duration', 'count'), 3);
});

test('failures are labelled', async () => {
  const app = testApp();
  await app.post('/generate', { inputs: '' });
  const failures = { overloaded: new LoraxError('OVERLOADED', { limit: 1 }), generation: new Error('boom') };
  for (const error of Object.values(failures)) {
    app.generator.hooks = { accept: () => Promise.reject(error) };
    await app.post('/generate', { inputs: 'a' });
  }
  app.generator.hooks = {
    token: (index) => index === 1 && Promise.reject(new LoraxError('GENERATION', { reason: 'x' })),
  };
  await (await app.post('/generate_stream', { inputs: 'a b c' })).text();
  const value = await read(app);
  assert.equal(value('request_failure', 'lorax_request_failure{err="validation"}'), 1);
  assert.equal(value('request_failure', 'lorax_request_failure{err="overloaded"}'), 1);
  assert.equal(value('request_failure', 'lorax_request_failure{err="generation"}'), 2);
  assert.equal(value('request_count'), 4);
  assert.equal(value('request_success'), 0);
});

test('/metrics is Prometheus text unless JSON is asked for', async () => {
  const { app } = testApp();
  const text = await app.request('/metrics');
  assert.match(text.headers.get('content-type') ?? '', /^text\/plain/);
  assert.match(await text.text(), /# TYPE lorax_request_count counter/);
  const type = async (path: string, accept = '*/*') =>
    (await app.request(path, { headers: { accept } })).headers.get('content-type')?.split(';')[0];
  assert.equal(await type('/metrics?format=json'), 'application/json');
  assert.equal(await type('/metrics', 'text/html, application/json'), 'application/json');
  assert.equal(await type('/metrics?format=prometheus', 'application/json'), 'text/plain');
  assert.equal((await app.request('/metrics?format=xml')).status, 422);
});

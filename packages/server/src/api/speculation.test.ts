import assert from 'node:assert/strict';
import { test } from 'node:test';
import { json, testApp } from './testdata/client.ts';

const bodies = (speculation: unknown): readonly (readonly [path: string, body: object])[] => [
  ['/generate', { inputs: 'a b', parameters: { speculation } }],
  ['/generate_stream', { inputs: 'a b', parameters: { speculation } }],
  ['/', { inputs: 'a b', parameters: { speculation } }],
  ['/v1/completions', { model: '', prompt: 'a b', speculation }],
  ['/v1/chat/completions', { model: '', messages: [{ role: 'user', content: 'a b' }], speculation }],
];

async function asked(speculation: unknown): Promise<unknown[]> {
  const { post, generator } = testApp();
  for (const [path, body] of bodies(speculation)) {
    const response = await post(path, body);
    assert.equal(response.status, 200, path);
    await response.text();
  }
  return generator.calls.map(({ request }) => request.speculation);
}

test('every generation route hands on what is asked of drafting, and nothing where nothing is asked', async () => {
  const every = (value: unknown) => Array.from({ length: 5 }, () => value);
  assert.deepEqual(await asked({ mode: 'medusa', tokens: 64 }), every({ mode: 'medusa', tokens: 64 }));
  assert.deepEqual(await asked({ mode: 'off' }), every({ mode: 'off', tokens: undefined }));
  assert.deepEqual(await asked({ mode: null, tokens: 2 }), every({ mode: 'auto', tokens: 2 }));
  assert.deepEqual(await asked({}), every({ mode: 'auto', tokens: undefined }));
  assert.deepEqual(await asked(null), every(undefined));
});

const REJECTED: readonly (readonly [speculation: unknown, message: string])[] = [
  ['off', '`speculation` must be an object'],
  [{ mode: 'tree' }, '`speculation.mode` must be one of auto, off, medusa, ngram'],
  [{ tokens: 0 }, '`speculation.tokens` must be at least 1'],
  [{ tokens: 65 }, '`speculation.tokens` must be at most 64'],
  [{ tokens: 1.5 }, '`speculation.tokens` must be an integer'],
];

for (const [speculation, message] of REJECTED) {
  test(`422 says that ${message}`, async () => {
    const { post, generator } = testApp();
    for (const [path, body] of bodies(speculation)) {
      const response = await post(path, body);
      assert.equal(response.status, 422);
      const { error } = (await json(response)) as { error: string | { message: string } };
      assert.equal(typeof error === 'string' ? error : error.message, message);
    }
    assert.equal(generator.calls.length, 0);
  });
}

/** `merged_adapters` on every route that generates: what is asked of the adapters, and what is refused by which name. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MERGE_STRATEGIES } from '../base/adapter-reference.ts';
import { json, testApp } from './testdata/client.ts';

/** The routes with a body that names no other adapter, around the fields under test. */
const ROUTES: Readonly<Record<string, (fields: object) => object>> = {
  '/generate': (parameters) => ({ inputs: 'hello', parameters }),
  '/generate_stream': (parameters) => ({ inputs: 'hello', parameters }),
  '/': (parameters) => ({ inputs: 'hello', parameters }),
  '/v1/completions': (fields) => ({ model: '', prompt: 'hello', ...fields }),
  '/v1/chat/completions': (fields) => ({ model: 'demo/base', messages: [{ role: 'user', content: 'hi' }], ...fields }),
};

async function adapterOf(path: string, fields: object, headers: Record<string, string> = {}) {
  const { post, generator } = testApp();
  const response = await post(path, ROUTES[path]!(fields), headers);
  assert.equal(response.status, 200, await response.clone().text());
  return { adapter: generator.calls[0]?.request.adapter, response };
}

for (const path of Object.keys(ROUTES)) {
  test(`${path} asks for all members with what is said of them`, async () => {
    const merged_adapters = {
      ids: ['org/a', 'b', 'c'],
      weights: [0.5, -2, 1],
      sources: ['hub', 'S3', 'pbase'],
      merge_strategy: 'DARE_TIES',
      density: 0.3,
      majority_sign_method: 'Frequency',
    };
    const { adapter, response } = await adapterOf(path, { merged_adapters, api_token: 'secret' });
    assert.deepEqual(adapter, {
      members: [
        { reference: { id: 'org/a', source: 'hub', apiToken: 'secret' }, weight: 0.5 },
        { reference: { id: 'b', source: 's3', apiToken: 'secret' }, weight: -2 },
        { reference: { id: 'c', source: 'pbase', apiToken: 'secret' }, weight: 1 },
      ],
      recipe: { strategy: 'dare_ties', density: 0.3, majoritySign: 'frequency' },
    });
    assert.equal(response.headers.get('x-adapter-id'), 'org/a,b,c');
    assert.equal(response.headers.get('x-adapter-source'), 'hub,s3,pbase');
  });
}

describe('what is left out', () => {
  test('weights are 1, the strategy linear, the sign that of the total, the source as for one adapter', async () => {
    const plain = (await adapterOf('/generate', { merged_adapters: { ids: ['a', 'b'] } })).adapter;
    const members = ['a', 'b'].map((id) => ({ reference: { id, source: 'local' }, weight: 1 }));
    const recipe = { strategy: 'linear', density: undefined, majoritySign: 'total' };
    assert.deepEqual(plain, { members, recipe });
    const merged_adapters = {
      ...{ ids: ['a', 'b'], weights: null, sources: null },
      ...{ merge_strategy: null, density: null, majority_sign_method: null },
    };
    assert.deepEqual((await adapterOf('/generate', { adapter_id: '', merged_adapters })).adapter, plain);
    const hub = (await adapterOf('/generate', { adapter_source: 'hub', merged_adapters })).adapter;
    assert.ok(hub && 'members' in hub && hub.members.every(({ reference }) => reference.source === 'hub'));
  });

  test('a density changes nothing where nothing is pruned, since LoRAX clients always send one', async () => {
    for (const merge_strategy of ['linear', 'cat', 'svd', 'peft_linear']) {
      for (const density of [0, 0.5, 1]) {
        const { adapter } = await adapterOf('/generate', {
          merged_adapters: { ids: ['a', 'b'], merge_strategy, density },
        });
        assert.ok(adapter && 'recipe' in adapter && adapter.recipe.density === undefined);
      }
    }
  });

  test('null is no merge', async () => {
    assert.deepEqual((await adapterOf('/generate', { adapter_id: 'a', merged_adapters: null })).adapter, {
      id: 'a',
      source: 'local',
    });
  });
});

test('one id is that adapter as it is', async () => {
  const merged_adapters = { ids: ['a'], weights: [0.3], sources: ['hub'], merge_strategy: 'ties', density: 0.5 };
  const { adapter, response } = await adapterOf('/generate', { merged_adapters });
  assert.deepEqual(adapter, { id: 'a', source: 'hub' });
  assert.equal(response.headers.get('x-adapter-id'), 'a');
});

test('every strategy is known', async () => {
  for (const strategy of MERGE_STRATEGIES) {
    const merged_adapters = { ids: ['a', 'b'], merge_strategy: strategy, density: 0.5 };
    const { adapter } = await adapterOf('/generate', { merged_adapters });
    assert.ok(adapter && 'recipe' in adapter && adapter.recipe.strategy === strategy);
  }
});

test('ids with commas cannot be taken for more ids', async () => {
  const { response } = await adapterOf('/generate', { merged_adapters: { ids: ['a,b', 'poète'] } });
  assert.equal(response.headers.get('x-adapter-id'), 'a%2Cb,po%C3%A8te');
});

const two = { ids: ['a', 'b'] };

const REFUSED: readonly (readonly [merged: unknown, message: string])[] = [
  ['a', '`merged_adapters` must be an object'],
  [{}, '`merged_adapters.ids` is required'],
  [{ ids: 'a' }, '`merged_adapters.ids` must be a list'],
  [{ ids: [] }, '`merged_adapters.ids` must not be empty'],
  [{ ids: ['a', 7] }, '`merged_adapters.ids[1]` must be a string'],
  [{ ids: ['a', 'b\n'] }, '`merged_adapters.ids[1]` must not contain control characters'],
  [{ ids: ['a', ''] }, '`merged_adapters.ids` must not have an empty id'],
  [{ ids: ['a', '__base_model__'] }, '`merged_adapters.ids` must not have `__base_model__`'],
  [{ ids: Array.from({ length: 17 }, (_, i) => `a${i}`) }, '`merged_adapters.ids` must have at most 16 elements'],
  [{ ...two, weights: [1] }, '`merged_adapters.weights` has 1 elements for 2 ids'],
  [{ ...two, weights: [] }, '`merged_adapters.weights` has 0 elements for 2 ids'],
  [{ ...two, weights: [1, '2'] }, '`merged_adapters.weights[1]` must be a number'],
  [{ ...two, weights: [1, 1001] }, '`merged_adapters.weights[1]` must be at most 1000'],
  [{ ...two, weights: [-1e300, 1] }, '`merged_adapters.weights[0]` must be at least -1000'],
  [{ ...two, sources: ['hub'] }, '`merged_adapters.sources` has 1 elements for 2 ids'],
  [{ ...two, sources: ['hub', 'ftp'] }, '`merged_adapters.sources[1]` must be one of hub, local, s3, pbase'],
  [
    { ...two, merge_strategy: 'mean' },
    `\`merged_adapters.merge_strategy\` must be one of ${MERGE_STRATEGIES.join(', ')}`,
  ],
  [{ ...two, merge_strategy: 3 }, '`merged_adapters.merge_strategy` must be a string'],
  [{ ...two, majority_sign_method: 'x' }, '`merged_adapters.majority_sign_method` must be one of total, frequency'],
  [{ ...two, merge_strategy: 'ties' }, '`merged_adapters.density` is required by `ties`'],
  [{ ...two, merge_strategy: 'ties', density: 0 }, '`merged_adapters.density` must be greater than 0: `ties` prunes'],
  [{ ...two, density: -0.1 }, '`merged_adapters.density` must be at least 0'],
  [{ ...two, density: 1.1 }, '`merged_adapters.density` must be at most 1'],
];

describe('422 says', () => {
  for (const [merged_adapters, message] of REFUSED) {
    test(message, async () => {
      const { post, generator } = testApp();
      const native = await post('/generate', ROUTES['/generate']!({ merged_adapters }));
      assert.equal(native.status, 422);
      assert.deepEqual(await json(native), { error: message, error_type: 'validation' });
      const openai = await post('/v1/completions', ROUTES['/v1/completions']!({ merged_adapters }));
      assert.equal(openai.status, 422);
      assert.equal(((await json(openai)) as { error: { message: string } }).error.message, message);
      assert.equal(generator.calls.length, 0);
    });
  }

  test('that an adapter and a merge exclude each other', async () => {
    const { post } = testApp();
    const message = '`merged_adapters` must not be set where `adapter_id` or `model` names an adapter';
    for (const adapter_id of ['a', '__base_model__']) {
      const native = await post('/generate', ROUTES['/generate']!({ adapter_id, merged_adapters: two }));
      assert.equal(native.status, 422);
      assert.equal(((await json(native)) as { error: string }).error, message);
    }
    const openai = await post('/v1/completions', { model: 'org/poet', prompt: 'a', merged_adapters: two });
    assert.equal(((await json(openai)) as { error: { message: string } }).error.message, message);
  });
});

test('an infinite weight is no number', async () => {
  const { post } = testApp();
  const body = '{"inputs":"a","parameters":{"merged_adapters":{"ids":["a","b"],"weights":[1,1e999]}}}';
  assert.equal((await post('/generate', body)).status, 422);
});

test('the document describes the field on native and OpenAI routes', async () => {
  const { components } = (await json(testApp().app.request('/openapi.json'))) as {
    components: { schemas: Record<string, { properties: Record<string, object>; required?: string[] }> };
  };
  const { MergedAdapters, ...schemas } = components.schemas;
  assert.deepEqual(MergedAdapters?.required, ['ids']);
  assert.deepEqual(Object.keys(MergedAdapters?.properties ?? {}), [
    ...['ids', 'weights', 'sources', 'merge_strategy', 'density', 'majority_sign_method'],
  ]);
  assert.deepEqual(MergedAdapters?.properties['density'], {
    ...{ type: ['number', 'null'], minimum: 0, maximum: 1 },
    description: 'Share of the values that pruning keeps; needed by, and only used by, strategies that prune.',
  });
  for (const name of ['GenerateParameters', 'CompletionRequest', 'ChatCompletionRequest']) {
    assert.match(
      JSON.stringify(schemas[name]?.properties['merged_adapters']),
      /#\/components\/schemas\/MergedAdapters/,
    );
  }
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { liveHandles } from './base/handles.ts';
import type { RunningServer, StartDependencies } from './cli/composition.ts';
import type { ServeOptions } from './config/options.ts';
import { readServe } from './config/testing.ts';
import { startServer } from './server.ts';
import { createLogger } from './telemetry/log.ts';
import { makeTinyAdapter, writeTinyAdapter, type TinyAdapterOptions } from './testing/tiny-adapter.ts';
import { makeTinyModel, writeTinyModel } from './testing/tiny-model.ts';

const root = mkdtempSync(join(tmpdir(), 'lorax-merged-'));
const model = join(root, 'tiny');
const adapterRoot = join(root, 'adapters');
const TARGETS = ['q_proj', 'down_proj', 'embed_tokens'];

const ADAPTERS: Readonly<Record<string, TinyAdapterOptions>> = {
  red: { rank: 4, targets: TARGETS, deviation: 1 },
  green: { rank: 5, targets: TARGETS, deviation: 1 },
  whole: { rank: 4, targets: ['q_proj'], saved: ['lm_head'] },
};

const deps: StartDependencies = {
  log: createLogger({ level: 'silent', json: true }),
  progress: { start: () => ({ advance: () => undefined, done: () => undefined }) },
  signal: new AbortController().signal,
};

before(() => {
  const tiny = makeTinyModel();
  writeTinyModel(model, tiny);
  for (const [name, options] of Object.entries(ADAPTERS)) {
    writeTinyAdapter(join(adapterRoot, name), makeTinyAdapter(tiny, options));
  }
});
after(() => rmSync(root, { recursive: true }));
afterEach(() => assert.deepEqual(liveHandles(), {}));

function optionsOf(...flags: readonly string[]): ServeOptions {
  const always = ['--model-id', model, '--adapter-root', adapterRoot, '--port', '0', '--threads', '1'];
  const env = { HF_HOME: join(root, 'cache'), HF_HUB_OFFLINE: '1' };
  return readServe([...always, '--dtype', 'float32', ...flags], env).options;
}

async function serving(flags: readonly string[], use: (server: RunningServer) => Promise<void>): Promise<void> {
  const server = await startServer(optionsOf(...flags), deps);
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

const merged = (...flags: readonly string[]): string[] => ['--adapter-id', 'red', '--merge-adapter-weights', ...flags];

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** Adapter and generation that answered, as the headers say. */
  readonly answeredBy: readonly (string | null)[];
}

async function send(server: RunningServer, path: string, body?: object, method = 'POST'): Promise<Answer> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const answeredBy = ['x-adapter-id', 'x-adapter-generation'].map((name) => response.headers.get(name));
  return { status: response.status, body: (await response.json()) as Answer['body'], answeredBy };
}

function generate(server: RunningServer, parameters: object = {}): Promise<Answer> {
  const always = { max_new_tokens: 12, ignore_eos_token: true };
  return send(server, '/generate', { inputs: 'The cat had', parameters: { ...always, ...parameters } });
}

describe('--merge-adapter-weights', () => {
  it('answers as the adapter beside the base does, under its name and generation', async () => {
    let beside: Answer | undefined;
    await serving(['--adapter-id', 'red'], async (server) => void (beside = await generate(server)));
    assert.equal(beside?.status, 200);
    await serving(merged(), async (server) => {
      assert.deepEqual(await generate(server), beside);
      assert.deepEqual(await generate(server, { adapter_id: 'red' }), beside);
      const chosen = { model, prompt: 'The cat had', max_tokens: 4 };
      assert.deepEqual((await send(server, '/v1/completions', chosen)).answeredBy, beside?.answeredBy);
    });
  });

  it('refuses every other adapter and the bare base, naming the option, and goes on', async () => {
    await serving(merged(), async (server) => {
      const refused: readonly (readonly [object, field: string])[] = [
        [{ adapter_id: 'green' }, 'adapter_id'],
        [{ adapter_id: 'nobody' }, 'adapter_id'],
        [{ adapter_id: 'red', adapter_source: 'hub' }, 'adapter_id'],
        [{ adapter_id: '__base_model__' }, 'adapter_id'],
        [{ merged_adapters: { ids: ['red', 'green'], merge_strategy: 'cat' } }, 'merged_adapters'],
      ];
      for (const [parameters, field] of refused) {
        const { status, body } = await generate(server, parameters);
        assert.equal(status, 422, JSON.stringify(body));
        assert.ok(String(body['error']).startsWith(`\`${field}\` `), JSON.stringify(body));
        assert.match(String(body['error']), /--merge-adapter-weights/);
      }
      assert.equal((await send(server, '/v1/completions', { model: 'green', prompt: 'The cat' })).status, 422);
      assert.equal((await generate(server)).status, 200);
      assert.equal((await fetch(`${server.url}/health`)).status, 200);
    });
  });

  it('is told by /info, by the list of models and by the adapter API, which changes nothing', async () => {
    await serving(merged('--adapter-api'), async (server) => {
      const { answeredBy } = await generate(server);
      const [id, generation] = answeredBy;
      const get = async (path: string): Promise<Answer['body']> => (await send(server, path, undefined, 'GET')).body;
      assert.deepEqual((await get('/info'))['merged_adapter'], { id, source: 'local', generation });
      const models = (await get('/v1/models'))['data'] as { id: string }[];
      assert.deepEqual(models.map((listed) => listed.id).toSorted(), [model, 'red'].toSorted());
      const status = await get('/v1/adapters/red');
      assert.deepEqual([status['state'], status['generation']], ['resident', generation]);
      const changes: readonly (readonly [method: string, path: string, body?: object])[] = [
        ['DELETE', '/v1/adapters/red'],
        ['POST', '/v1/adapters', { id: 'green' }],
        ['POST', '/v1/adapters', { id: 'red', name: 'scarlet' }],
      ];
      for (const [method, path, body] of changes) {
        const answer = await send(server, path, body, method);
        assert.equal(answer.status, 422, `${method} ${path}: ${JSON.stringify(answer.body)}`);
        assert.match(JSON.stringify(answer.body), /--merge-adapter-weights/);
      }
      assert.equal((await send(server, '/v1/adapters/green', undefined, 'DELETE')).status, 404);
      assert.equal((await send(server, '/v1/adapters', { id: 'red' })).status, 200);
    });
  });

  it('does not start with an adapter that does more than add to weights, or that is not there', async () => {
    const start = (id: string) => startServer(optionsOf('--adapter-id', id, '--merge-adapter-weights'), deps);
    const message = /tensor base_model\.model\.lm_head\.weight .*--merge-adapter-weights/;
    await assert.rejects(start('whole'), { code: 'ADAPTER_INVALID', message });
    assert.deepEqual(liveHandles(), {});
    await assert.rejects(start('nobody'), { code: 'ADAPTER_NOT_FOUND' });
  });
});

it('without --merge-adapter-weights no adapter is told to be merged', async () => {
  await serving(['--adapter-id', 'red'], async (server) => {
    assert.equal((await send(server, '/info', undefined, 'GET')).body['merged_adapter'], null);
    const bare = await generate(server, { adapter_id: '__base_model__' });
    assert.equal(bare.status, 200);
    assert.notDeepEqual(bare.body, (await generate(server)).body);
  });
});

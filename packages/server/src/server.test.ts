import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { liveHandles } from './base/handles.ts';
import type { RunningServer, StartDependencies } from './cli/composition.ts';
import type { ServeOptions } from './config/options.ts';
import { readServe } from './config/testing.ts';
import { estimateMemory, loadEngine, startServer } from './server.ts';
import { createLogger } from './telemetry/log.ts';
import { readAnswer, REQUEST } from './testing/request-setting.ts';
import { makeTinyAdapter, writeTinyAdapter } from './testing/tiny-adapter.ts';
import { makeTinyModel, writeTinyModel } from './testing/tiny-model.ts';

const root = mkdtempSync(join(tmpdir(), 'lorax-server-'));
const model = join(root, 'tiny');
const adapterRoot = join(root, 'adapters');
const ADAPTERS = ['red', 'green'];

const deps: StartDependencies = {
  log: createLogger({ level: 'silent', json: true }),
  progress: { start: () => ({ advance: () => undefined, done: () => undefined }) },
  signal: new AbortController().signal,
};

type Flags = Readonly<Record<string, string>>;

function optionsOf(flags: Flags = {}): ServeOptions {
  const all = { 'model-id': model, 'adapter-root': adapterRoot, port: '0', threads: '1', dtype: 'float32', ...flags };
  const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]);
  return readServe(args, { HF_HOME: join(root, 'cache'), HF_HUB_OFFLINE: '1' }).options;
}

before(() => {
  const tiny = makeTinyModel();
  writeTinyModel(model, tiny);
  for (const [seed, name] of ADAPTERS.entries()) {
    const options = { rank: 4 + seed, targets: ['q_proj', 'down_proj'], deviation: 1 };
    writeTinyAdapter(join(adapterRoot, name), makeTinyAdapter(tiny, options, seed));
  }
});
after(() => rmSync(root, { recursive: true }));
afterEach(() => assert.deepEqual(liveHandles(), {}));

async function serving(use: (server: RunningServer) => Promise<void>, flags: Flags = {}): Promise<void> {
  const server = await startServer(optionsOf(flags), deps);
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

interface Generated {
  readonly generated_text: string;
  readonly details: { readonly generated_tokens: number; readonly finish_reason: string };
}

async function generate(server: RunningServer, adapterId?: string): Promise<{ status: number; body: Generated }> {
  const parameters = { max_new_tokens: 12, details: true, ignore_eos_token: true, adapter_id: adapterId };
  const response = await fetch(`${server.url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ inputs: 'The cat had', parameters }),
  });
  return { status: response.status, body: (await response.json()) as Generated };
}

describe('startServer', () => {
  it('serves the model with its adapters, each request the same alone and beside others', async () => {
    await serving(async (server) => {
      assert.deepEqual([server.modelId, [...server.adapters].sort()], [model, [...ADAPTERS].sort()]);
      assert.equal((await fetch(`${server.url}/health`)).status, 200);
      const models = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { id: string }[] };
      for (const name of ADAPTERS) assert.ok(models.data.some(({ id }) => id === name));
      const alone: Awaited<ReturnType<typeof generate>>[] = [];
      for (const adapter of [undefined, ...ADAPTERS]) alone.push(await generate(server, adapter));
      assert.deepEqual(
        alone.map(({ status, body }) => [status, body.details.generated_tokens, body.details.finish_reason]),
        Array(3).fill([200, 12, 'length']),
      );
      assert.equal(new Set(alone.map(({ body }) => body.generated_text)).size, 3);
      const names = [undefined, ...ADAPTERS, ...ADAPTERS, undefined];
      const together = await Promise.all(names.map((name) => generate(server, name)));
      for (const [i, name] of names.entries()) {
        const { body } = alone[[undefined, ...ADAPTERS].indexOf(name)]!;
        assert.equal(together[i]!.body.generated_text, body.generated_text);
      }
      assert.equal((await fetch(`${server.url}/health`)).status, 200);
    });
  });

  it('answers for an adapter that is missing or broken, and goes on', async () => {
    cpSync(join(adapterRoot, 'red'), join(adapterRoot, 'torn'), { recursive: true });
    writeFileSync(join(adapterRoot, 'torn', 'adapter_model.safetensors'), 'torn');
    try {
      await serving(async (server) => {
        assert.equal((await generate(server, 'blue')).status, 404);
        assert.equal((await generate(server, 'torn')).status, 422);
        assert.equal((await generate(server, 'red')).status, 200);
      });
    } finally {
      rmSync(join(adapterRoot, 'torn'), { recursive: true });
    }
  });

  it('gives requests that name no adapter the one of --adapter-id', async () => {
    let plain = '';
    await serving(async (server) => void (plain = (await generate(server, 'green')).body.generated_text));
    const same = async (server: RunningServer): Promise<void> =>
      assert.equal((await generate(server)).body.generated_text, plain);
    await serving(same, { 'adapter-id': 'green' });
  });

  it('does not start with a default adapter that cannot be loaded', async () => {
    await assert.rejects(startServer(optionsOf({ 'adapter-id': 'blue' }), deps), { code: 'ADAPTER_NOT_FOUND' });
  });

  it('does not start on a port that is taken', async (t) => {
    const other = createServer();
    t.after(() => other.close());
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    await assert.rejects(startServer(optionsOf({ port: String(port) }), deps), { code: 'EADDRINUSE' });
  });

  it('does not start with half a model', async () => {
    const half = join(root, 'half');
    for (const missing of ['config.json', 'model.safetensors', 'tokenizer.json']) {
      cpSync(model, half, { recursive: true });
      rmSync(join(half, missing));
      await assert.rejects(startServer(optionsOf({ 'model-id': half }), deps), { name: 'LoraxError' }, missing);
      assert.deepEqual(liveHandles(), {}, missing);
    }
  });

  it('does not start with an input length that the model cannot take', async () => {
    await assert.rejects(startServer(optionsOf({ 'max-input-length': '5000' }), deps), { code: 'OPTION_INVALID' });
  });

  it('fits the context to the cells that it was given', async () => {
    const fits = async (server: RunningServer): Promise<void> => {
      const info = (await (await fetch(`${server.url}/info`)).json()) as Record<string, unknown>;
      assert.deepEqual([info['max_total_tokens'], info['max_batch_total_tokens']], [40, 40]);
      assert.equal((await generate(server)).status, 200);
    };
    await serving(fits, { 'max-batch-total-tokens': '40' });
  });
});

describe('without a server', () => {
  it('the engine answers requests', async () => {
    const engine = await loadEngine(optionsOf(), deps);
    const adapter = { id: 'red', source: 'local' } as const;
    const generation = await engine.generator.generate({ ...REQUEST, adapter }, deps.signal);
    const { result } = await readAnswer(generation);
    await engine.dispose();
    assert.equal(result?.generatedTokens, 5);
  });

  it('the memory of a model is told from its files', async () => {
    const estimate = await estimateMemory(optionsOf());
    assert.deepEqual([estimate.modelType, estimate.maxTotalTokens], ['llama', 256]);
    assert.equal(estimate.totalBytes, estimate.weightBytes + estimate.kvBytes);
  });
});

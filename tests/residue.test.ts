import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { adapterIds, PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { get, json, leave, post } from './http.ts';
import { LoraxServer, runCommand } from './lorax-process.ts';

const MIB = 2 ** 20;

describe('what requests leave behind', () => {
  let server: LoraxServer;
  let models: string[];
  before(async () => {
    server = await LoraxServer.start(QUIET_DEMO_ARGS);
    models = ['', ...(await adapterIds(server.url))];
  });
  after(() => server.stop());

  test('clients that go away free their rows and their KV cells', async () => {
    const parameters = { max_new_tokens: 900, ignore_eos_token: true };
    const gone = models.map((id, index) => {
      const path = index % 2 === 0 ? '/generate' : '/generate_stream';
      return leave(server.url + path, { inputs: PROMPTS[0], parameters: { ...parameters, adapter_id: id } }, 200);
    });
    await Promise.all(gone);
    await untilIdle(server.url);
    const metrics = (await get(`${server.url}/metrics`)).text;
    assert.match(metrics, new RegExp(`^lorax_request_failure\\{err="dropped"\\} ${models.length}$`, 'm'));
  });

  test('200 requests over all adapters leave the memory of the process as it was', async () => {
    const ask = async (count: number) => {
      for (let index = 0; index < count; index++) {
        const parameters = { adapter_id: models[index % models.length], max_new_tokens: 8 };
        json(await post(`${server.url}/generate`, { inputs: PROMPTS[index % PROMPTS.length], parameters }));
      }
    };
    await ask(100);
    const warmBytes = residentBytes(server.pid);
    await ask(200);
    const grownBytes = residentBytes(server.pid) - warmBytes;
    // A leak of one step's logits and activations per request would be more than twice this.
    assert.ok(grownBytes < 96 * MIB, `grew by ${grownBytes / MIB} MiB`);
  });
});

test('the server needs no network', async () => {
  const guard = new URL('no-network.js', import.meta.url).href;
  const attempt = ['--import', guard, '-e', "fetch('http://127.0.0.1:65000').catch(() => {})"];
  const { stderr } = await runCommand(process.execPath, attempt);
  assert.match(stderr, /^network used/, 'the guard sees connections');

  const server = await LoraxServer.start(QUIET_DEMO_ARGS, { env: { NODE_OPTIONS: `--import ${guard}` } });
  const [adapter = ''] = await adapterIds(server.url);
  json(
    await post(`${server.url}/generate`, {
      inputs: PROMPTS[0],
      parameters: { adapter_id: adapter, max_new_tokens: 4 },
    }),
  );
  assert.deepEqual(await server.stop().then(({ code, stderr: text }) => [code, text]), [0, '']);
});

/** Settles when no row is running and no KV cell is taken; a fault is a test that does not end. */
async function untilIdle(url: string): Promise<void> {
  for (;;) {
    const { text } = await get(`${url}/metrics`);
    const busy = ['lorax_batch_current_size', 'lorax_kv_cells_used', 'lorax_queue_length'].filter(
      (name) => !new RegExp(`^${name} 0$`, 'm').test(text),
    );
    if (busy.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function residentBytes(pid: number): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  assert.ok(kibibytes !== undefined, 'the process is alive');
  return Number(kibibytes) * 1024;
}

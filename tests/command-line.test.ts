import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adapterIds, DEMO_ARGS, PROMPTS, QUIET_DEMO_ARGS } from './demo.ts';
import { events, json, post } from './http.ts';
import { LAUNCHER, LORAX, LoraxServer, run, runCommand } from './lorax-process.ts';

const [PROMPT = ''] = PROMPTS;
const VERSION = /^\d+\.\d+\.\d+\n$/;

test('npx lorax works in the clone', async () => {
  const { code, stdout } = await runCommand('npx', ['--no', 'lorax', '--version']);
  assert.equal(code, 0);
  assert.match(stdout, VERSION);
});

test("lorax-launcher takes the server's flags without a command", async () => {
  const { code, stdout } = await run(LAUNCHER, ['--help']);
  assert.equal(code, 0);
  assert.match(stdout, /^Usage: lorax serve/);
  assert.match(stdout, /--adapter-root/);
});

test('doctor tells the machine, the library, and that the demo model fits', async () => {
  const { code, stdout, stderr } = await run(LORAX, ['doctor', ...DEMO_ARGS]);
  assert.deepEqual([code, stderr], [0, '']);
  for (const label of ['cores', 'memory', 'engine', 'variant', 'threads', 'model', 'total']) {
    assert.match(stdout, new RegExp(`^${label} .*\\S`, 'm'));
  }
  assert.match(stdout, /: fits$/m);
});

test('generate writes what the server answers, with and without an adapter', async () => {
  const server = await LoraxServer.start(QUIET_DEMO_ARGS);
  try {
    const [adapter = ''] = await adapterIds(server.url);
    for (const id of ['', adapter]) {
      const chosen = id === '' ? [] : ['--adapter-id', id];
      const args = ['generate', ...QUIET_DEMO_ARGS, ...chosen, '--prompt', PROMPT, '--max-new-tokens', '12'];
      const { code, stdout, stderr } = await run(LORAX, args);
      const parameters = { adapter_id: id, max_new_tokens: 12 };
      const answer = json(await post(`${server.url}/generate`, { inputs: PROMPT, parameters }));
      assert.equal(code, 0, stderr);
      assert.equal(stdout, answer['generated_text']);
      assert.match(
        stderr,
        /^\d+ prompt tokens, 12 generated \(.* a second\)(, \d+ of them from drafts)?, ended by length$/m,
      );
    }
  } finally {
    await server.stop();
  }
});

const MISTAKES: readonly { readonly args: readonly string[]; readonly says: RegExp }[] = [
  { args: ['serve', '--no-such-flag'], says: /--no-such-flag/ },
  { args: ['serve'], says: /--model-id/ },
  { args: ['serve', '--demo', '--port', '99999'], says: /--port/ },
  { args: ['serve', '--demo', '--dtype', 'int3'], says: /--dtype.*float32/ },
  { args: ['serve', '--demo', '--model-id', 'x'], says: /--demo/ },
  { args: ['generate', '--demo'], says: /--prompt/ },
  { args: ['no-such-command'], says: /no-such-command/ },
];

for (const { args, says } of MISTAKES) {
  test(`lorax ${args.join(' ')} ends with 2 and one line`, async () => {
    const { code, stdout, stderr } = await run(LORAX, args);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^error: [^\n]+\n$/);
    assert.match(stderr, says);
  });
}

test('a wrong environment variable is named', async () => {
  const { code, stderr } = await run(LORAX, ['serve', '--demo'], { env: { MAX_BEST_OF: 'many' } });
  assert.equal(code, 2);
  assert.match(stderr, /^error: [^\n]*MAX_BEST_OF[^\n]*\n$/);
});

test('a model that is not there is an error of one line without a stack', async () => {
  const { code, stderr } = await run(LORAX, ['serve', '--model-id', './no-such-folder', '--port', '0']);
  assert.notEqual(code, 0);
  assert.match(stderr, /^error: [^\n]*no-such-folder[^\n]*\n$/);
});

test('SIGTERM lets the request in hand end, and ends well', async () => {
  const server = await LoraxServer.start(QUIET_DEMO_ARGS);
  const body = { inputs: PROMPT, parameters: { max_new_tokens: 60, ignore_eos_token: true } };
  const headers = { 'content-type': 'application/json' };
  const init = { method: 'POST', headers, body: JSON.stringify(body) };
  const answer = await fetch(`${server.url}/generate_stream`, init); // the status comes with the first token
  const finished = server.stop();
  const parts = events({ status: answer.status, contentType: '', text: await answer.text() });
  assert.equal(parts.length, 60);
  assert.equal(typeof parts.at(-1)?.['generated_text'], 'string');
  const { code, stderr } = await finished;
  assert.deepEqual([code, stderr], [0, '']);
});

test('a port in use is an error of one line that names it', async () => {
  const server = await LoraxServer.start(QUIET_DEMO_ARGS);
  try {
    const { port } = new URL(server.url);
    const { code, stderr } = await run(LORAX, ['serve', ...QUIET_DEMO_ARGS, '--json-output', '--port', port]);
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(`^error: option --port: ${port} [^\\n]*in use[^\\n]*\\n$`));
  } finally {
    await server.stop();
  }
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('testdata/with-fakes.js', import.meta.url));

interface Step {
  /** Seen on stdout or stderr ... */
  readonly after: string;
  /** ... this is done. */
  readonly signal: NodeJS.Signals;
}

/** Runs a scenario to its end, sending each signal once what it waits for was printed. */
async function run(command: string, scenario: string, steps: readonly Step[] = [], input = '') {
  const child = spawn(process.execPath, [PROGRAM, command, scenario], { stdio: 'pipe' });
  const printed = { stdout: '', stderr: '' };
  const waiting = [...steps];
  const collect = (name: 'stdout' | 'stderr') =>
    child[name].setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text;
      const [next] = waiting;
      if (next === undefined || !(printed.stdout + printed.stderr).includes(next.after)) return;
      waiting.shift();
      child.kill(next.signal);
    });
  collect('stdout');
  collect('stderr');
  child.stdin.end(input);
  const code = await new Promise((resolve) => child.once('close', (status, signal) => resolve(status ?? signal)));
  return { code, ...printed };
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`serve says what to try, and ${signal} drains it and ends well`, async () => {
    const { code, stdout, stderr } = await run('serve', 'plain', [{ after: 'Ctrl-C', signal }]);
    assert.equal(code, 0);
    assert.match(stdout, /^fake is served at http:\/\/127\.0\.0\.1:1 with the adapters one$/m);
    assert.match(stdout, new RegExp(`INFO ${signal}: no new requests`));
    assert.equal(stderr, 'draining\ndrained\n');
  });
}

test('a second signal ends at once', async () => {
  const steps: Step[] = [
    { after: 'Ctrl-C', signal: 'SIGTERM' },
    { after: 'draining', signal: 'SIGINT' },
  ];
  const { code, stderr } = await run('serve', 'slow-drain', steps);
  assert.deepEqual([code, stderr], [130, 'draining\n']);
});

test('a signal while the server starts ends the start', async () => {
  const { code, stderr } = await run('serve', 'slow-start', [{ after: 'starting', signal: 'SIGINT' }]);
  assert.deepEqual([code, stderr], [130, 'starting\n']);
});

test('a port in use is an error that names the flag', async () => {
  const { code, stderr } = await run('serve', 'port-in-use');
  assert.equal(code, 2);
  assert.match(stderr, /^error: option --port: 4321 on 127\.0\.0\.1 is in use by another program; [^\n]+\n$/);
});

test('with --json-output every line on stdout is JSON', async () => {
  const { code, stdout } = await run('serve', 'json', [{ after: '"serving"', signal: 'SIGTERM' }]);
  assert.equal(code, 0);
  const lines = stdout.trimEnd().split('\n');
  const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  assert.match(messages[0] ?? '', /^option --compile has no effect/);
  assert.equal(messages[1], 'serving');
});

test('generate reads the prompt from stdin and prints the text alone to stdout', async () => {
  const { code, stdout, stderr } = await run('generate', 'plain', [], 'Once upon\n');
  assert.deepEqual([code, stdout], [0, 'Hello wörld']);
  assert.match(stderr, /^prompt {"text":"Once upon\\n"}$/m);
  assert.match(stderr, /^4 prompt tokens, 3 generated \(2\.0 a second\), ended by eos_token, seed 7$/m);
  assert.match(stderr, /^disposed$/m);
});

test('generate without a prompt on stdin says so', async () => {
  const { code, stderr } = await run('generate', 'plain');
  assert.deepEqual([code, stderr], [2, 'error: option --prompt: the standard input was empty\n']);
});

test('a signal ends generate and still disposes of the engine', async () => {
  const { code, stdout, stderr } = await run('generate', 'endless', [{ after: 'wörld', signal: 'SIGINT' }], 'x');
  assert.deepEqual([code, stdout], [130, 'Hello wörld\n']);
  assert.match(stderr, /^disposed$/m);
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

import { nextSteps } from './next-steps.ts';

const URL = 'http://127.0.0.1:3000';
const served = (adapters: string[], defaultAdapterSource: 'hub' | 'local' = 'local', needsKey = false) =>
  nextSteps({ url: URL, modelId: 'demo', adapters, defaultAdapterSource, needsKey });

/** Pastes the commands into a shell in which `curl` prints what it was given. */
function pasted(text: string): { url: string; body: Record<string, unknown> | undefined }[] {
  const commands = text.split('\n').filter((line) => line.startsWith('  '));
  const script = `curl() { for a in "$@"; do printf '%s\\0' "$a"; done; printf '\\n\\0'; }\n${commands.join('\n')}\n`;
  const calls = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0\n\0').filter(Boolean);
  return calls.map((call) => {
    const args = call.split('\0');
    const body = args[args.indexOf('-d') + 1];
    const parsed: unknown = args.includes('-d') ? JSON.parse(body ?? '') : undefined;
    return { url: args.find((arg) => arg.startsWith('http')) ?? '', body: parsed as Record<string, unknown> };
  });
}

test('the lines paste into a shell and ask for the base, an adapter and the list', () => {
  const calls = pasted(served(['carroll', 'kipling']));
  assert.deepEqual(
    calls.map(({ url }) => url.slice(URL.length)),
    ['/generate', '/generate', '/v1/completions', '/v1/models'],
  );
  const [base, adapter, openai] = calls.map(({ body }) => body);
  assert.deepEqual(base?.['parameters'], { max_new_tokens: 40 });
  assert.deepEqual(adapter?.['parameters'], { max_new_tokens: 40, adapter_id: 'carroll' });
  assert.equal(openai?.['model'], 'carroll');
});

test('an adapter name keeps its quotes, dollars and spaces', () => {
  const name = `it's "quoted" $HOME \\ and spaced`;
  const [, adapter] = pasted(served([name], 'hub'));
  assert.deepEqual(adapter?.body?.['parameters'], { max_new_tokens: 40, adapter_id: name, adapter_source: 'local' });
});

test('without adapters only the base is shown, and a long list is cut with its number', () => {
  assert.equal(pasted(served([])).length, 2);
  assert.match(served(Array.from({ length: 20 }, (_, index) => `a${index}`)), /a11, \.\.\. \(20 in all\)/);
});

test('where the server has keys, every command sends one from the environment', () => {
  const text = served(['carroll'], 'local', true);
  assert.match(text, /from the variable LORAX_KEY/);
  assert.equal(text.match(/-H "authorization: Bearer \$LORAX_KEY" /g)?.length, 4);
  assert.deepEqual(
    pasted(text).map(({ url }) => url.slice(URL.length)),
    ['/generate', '/generate', '/v1/completions', '/v1/models'],
  );
  assert.ok(!served(['carroll']).includes('authorization'));
});

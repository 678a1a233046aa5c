import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import type { LogLevel } from './log.ts';
import { createLogger } from './log.ts';

function logger(json: boolean, level: LogLevel = 'info', colours = false) {
  const written: string[] = [];
  const log = createLogger({ level, json }, { write: (text) => written.push(text), hasColors: () => colours });
  return { log, written };
}

test('JSON output is one object a line, with time, level, message and fields', () => {
  const { log, written } = logger(true);
  log.info({ adapter: 'a', rows: 3 }, 'loaded');
  log.child({ request: 7 }).warn('slow');
  assert.equal(written.length, 2);
  const [first, second] = written.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.match(String(first?.['time']), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual({ ...first, time: 0 }, { level: 'info', time: 0, adapter: 'a', rows: 3, msg: 'loaded' });
  assert.deepEqual({ ...second, time: 0 }, { level: 'warn', time: 0, request: 7, msg: 'slow' });
});

test('without it, lines are for people', () => {
  const { log, written } = logger(false);
  log.info({ adapter: 'a/b', reason: 'two words', shape: [1, 2] }, 'loaded');
  assert.match(written.join(''), /^\S+Z  INFO loaded adapter=a\/b reason="two words" shape=\[ 1, 2 \]\n$/);
});

test('an error keeps its stack', () => {
  const { log, written } = logger(false);
  log.error({ err: new Error('it broke') }, 'failed');
  assert.match(written.join(''), /^\S+Z ERROR failed\n    Error: it broke\n +at /);
});

test('colours only where the terminal has them', () => {
  const plain = logger(false, 'info', false);
  const coloured = logger(false, 'info', true);
  for (const { log } of [plain, coloured]) log.info('x');
  assert.ok(!plain.written.join('').includes('\u001b'));
  assert.ok(coloured.written.join('').includes('\u001b['));
});

test('messages below the level are not written', () => {
  const { log, written } = logger(true, 'error');
  log.warn('x');
  assert.deepEqual(written, []);
  const silent = logger(true, 'silent');
  silent.log.fatal('x');
  assert.deepEqual(silent.written, []);
});

const TOKEN = 'hf_AbCdEfGhIjKlMnOpQrStUvWx';

for (const json of [true, false]) {
  test(`credentials never reach the log, ${json ? 'as JSON' : 'for people'}`, () => {
    const { log, written } = logger(json);
    log.info({ api_token: 'plain-secret-1', deep: { a: { b: { c: [{ apiToken: 'plain-secret-2' }] } } } }, 'x');
    log.info({ headers: { Authorization: 'Bearer plain-secret-3', cookie: 'a=plain-secret-4' } }, 'x');
    log.info(`fetching with ${TOKEN} and Bearer plain-secret-5`);
    log.info({ url: 'http://h/p?a=1&api_token=plain-secret-6&b=2' }, 'x');
    log.error({ err: new Error(`refused: authorization bearer plain-secret-7 ${TOKEN}`) }, 'x');
    log.child({ api_token: 'plain-"secret-8' }).info('x');
    const text = written.join('');
    assert.ok(!text.includes('secret-'), text);
    assert.ok(!text.includes(TOKEN.slice(3)), text);
    assert.match(text, /a=1&api_token=\[hidden\]&b=2/);
  });
}

test('hiding keeps every line one JSON object, whatever is logged', () => {
  fc.assert(
    fc.property(fc.string(), fc.jsonValue(), (message, value) => {
      const { log, written } = logger(true);
      log.info({ value, api_token: message }, `Bearer ${message} ${TOKEN}`);
      const [line = ''] = written;
      const parsed = JSON.parse(line) as Record<string, unknown>;
      assert.equal(parsed['api_token'], '[hidden]');
      assert.ok(line.endsWith('\n') && !line.slice(0, -1).includes('\n'));
    }),
  );
});

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';

import { createProgress } from './progress.ts';

function watched() {
  const written: string[] = [];
  const clock = { nowMs: 1000 };
  const progress = createProgress({ write: (text) => written.push(text) }, () => clock.nowMs);
  return { written, clock, progress };
}

test('off a terminal there is a line every five seconds, and one at the end', () => {
  const { written, clock, progress } = watched();
  const bar = progress.start('weights', 4 * 1024 ** 3);
  for (let second = 0; second < 12; second += 1) {
    clock.nowMs += 1000;
    bar.advance(256 * 1024 ** 2);
  }
  bar.advance(1024 ** 3);
  bar.done();
  assert.deepEqual(written, [
    'weights: 31 % of 4.0 GiB\n',
    'weights: 62 % of 4.0 GiB\n',
    'weights: 100 % of 4.0 GiB in 12.0 s\n',
  ]);
});

test('work that was cut short says how far it came, and no bytes are all of none', () => {
  const { written, progress } = watched();
  const cut = progress.start('a', 1000);
  cut.advance(999);
  cut.done();
  progress.start('b', 0).done();
  assert.deepEqual(written, ['a: 99 % of 1000 bytes in 0.0 s\n', 'b: 100 % of 0 bytes in 0.0 s\n']);
});

test('on a terminal there is a bar that ends with its line', () => {
  const stream = Object.assign(new PassThrough(), {
    isTTY: true,
    columns: 80,
    cursorTo: () => true,
    moveCursor: () => true,
    clearLine: () => true,
  });
  const bar = createProgress(stream).start('weights', 2048);
  bar.advance(2048);
  bar.done();
  const text = String(stream.read());
  assert.match(text, /weights .*100 % of 2\.0 KiB/);
  assert.ok(text.endsWith('\n'));
});

test('work that is not counted in bytes is shown as its caller writes it', () => {
  const { written, progress } = watched();
  const bar = progress.start('training', 40, (amount) => `${amount} updates`);
  bar.advance(10);
  bar.done();
  assert.deepEqual(written, ['training: 25 % of 40 updates in 0.0 s\n']);
});

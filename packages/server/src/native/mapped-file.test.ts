import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { liveHandles } from '../base/handles.ts';
import { MappedFile, viewBytes } from './mapped-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorax-mapped-'));
after(() => {
  rmSync(folder, { recursive: true });
  assert.deepEqual(liveHandles(), {});
});

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

test('a mapping shows the bytes of its file, at its address', () => {
  const content = Uint8Array.from({ length: 10_000 }, (_, i) => i * 7);
  const file = MappedFile.open(write('ten-thousand', content));
  assert.equal(file.byteLength, content.length);
  assert.deepEqual(file.bytes(0, content.length), content);
  assert.deepEqual(file.bytes(4_097, 11), content.subarray(4_097, 4_108));
  assert.deepEqual(viewBytes(file.address + 9_990n, 10), content.subarray(9_990));
  assert.equal(file.bytes(content.length, 0).length, 0);
  file.dispose();
});

test('a mapping outlives the replacement of its file', () => {
  const path = write('old', 'first');
  const file = MappedFile.open(path);
  renameSync(write('new', 'second'), path);
  assert.equal(Buffer.from(file.bytes(0, 5)).toString(), 'first');
  file.dispose();
});

test('an empty file is open without an address', () => {
  const file = MappedFile.open(write('empty', ''));
  assert.equal(file.byteLength, 0);
  assert.equal(file.address, 0n);
  assert.equal(file.bytes(0, 0).length, 0);
  file.dispose();
});

test('views outside the file, over 1 GiB or after dispose are our own bugs', () => {
  const file = MappedFile.open(write('small', 'abcdef'));
  for (const [offset, length] of [
    [0, 7],
    [6, 1],
    [-1, 2],
    [0, -1],
    [0.5, 1],
    [Number.NaN, 1],
  ] as const) {
    assert.throws(() => file.bytes(offset, length), /invariant broken/);
  }
  assert.throws(() => viewBytes(file.address, 2 ** 30 + 1), /at most 1 GiB/);
  file.dispose();
  file.dispose();
  assert.throws(() => file.bytes(0, 1), /after dispose/);
  assert.throws(() => file.address, /after dispose/);
});

test('what is not a readable regular file is refused by its name alone', () => {
  const missing = join(folder, 'missing.safetensors');
  const message = 'missing.safetensors: the file is missing';
  assert.throws(() => MappedFile.open(missing), { code: 'FILE_INVALID', message });
  assert.throws(() => MappedFile.open(folder), { code: 'FILE_INVALID', message: /: not a regular file$/ });
});

test('a named pipe does not keep the opener waiting', () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  assert.throws(() => MappedFile.open(pipe), { code: 'FILE_INVALID', message: 'pipe: not a regular file' });
});

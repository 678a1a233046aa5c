import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../base/handles.ts';
import { MappedFile } from '../native/mapped-file.ts';
import { zipBytes, type ZipPart } from './testdata/torch-bytes.ts';
import { readZipDirectory } from './zip-directory.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorax-zip-'));
const path = join(folder, 'a.bin');
after(() => {
  rmSync(folder, { recursive: true });
  assert.deepEqual(liveHandles(), {});
});

/** What the entries hold, by name. */
function read(bytes: Uint8Array): Record<string, string> {
  writeFileSync(path, bytes);
  const file = MappedFile.open(path);
  try {
    const entries = [...readZipDirectory(path, file).values()];
    return Object.fromEntries(
      entries.map((e) => [e.name, Buffer.from(file.bytes(e.offset, e.byteLength)).toString('hex')]),
    );
  } finally {
    file.dispose();
  }
}

function refuses(bytes: Uint8Array, message: RegExp): void {
  assert.throws(() => read(bytes), { code: 'FILE_INVALID', message });
}

const part = (name: string, text: string, wrong: Partial<ZipPart> = {}): ZipPart => ({
  name,
  data: Buffer.from(text),
  ...wrong,
});

test('stored entries are found, in 32 and 64-bit archives, with any comment', () => {
  const parts = fc.uniqueArray(fc.record({ name: fc.string({ unit: 'grapheme' }), data: fc.uint8Array() }), {
    selector: ({ name }) => name,
    maxLength: 5,
  });
  const comments = fc.stringMatching(/^[ -~]{0,40}$/);
  fc.assert(
    fc.property(parts, fc.boolean(), comments, (written, zip64, comment) => {
      const expected = Object.fromEntries(written.map(({ name, data }) => [name, Buffer.from(data).toString('hex')]));
      assert.deepEqual(read(zipBytes(written, { zip64, comment })), expected);
    }),
  );
});

test('what is no archive, or only a part of one, is refused', () => {
  const whole = zipBytes([part('a', 'aaa'), part('b', 'bbb')]);
  for (let length = 0; length < whole.length; length++) refuses(whole.subarray(0, length), /not a zip archive/);
  refuses(Buffer.concat([whole, Buffer.from('x')]), /not a zip archive/);
});

test('compressed and encrypted entries are refused by name', () => {
  refuses(zipBytes([part('ok', ''), part('packed', 'x', { method: 8 })]), /entry "packed" is compressed/);
  refuses(zipBytes([part('secret', 'x', { flags: 1 })]), /entry "secret" is encrypted/);
});

test('sizes and places that cannot be are refused', () => {
  const a = part('a', 'aaaa');
  refuses(zipBytes([part('a', 'aaaa', { packedBytes: 3 })]), /entry "a" has two sizes/);
  refuses(zipBytes([a, part('b', 'bbbb', { byteLength: 5 })]), /entry "b" runs over its end/);
  refuses(zipBytes([part('a', 'aaaa', { byteLength: 2 ** 32 - 2 })]), /entry "a" runs over its end/);
  refuses(zipBytes([part('a', 'aaaa', { localOffset: 2 ** 31 })]), /points outside the file/);
  refuses(zipBytes([part('a', 'aaaa', { localOffset: 1 })]), /entry "a" is not where it should be/);
  refuses(zipBytes([part('a', 'aaaa', { byteLength: 2 ** 32 - 1 })]), /lacks a 64-bit field/);
});

test('64-bit numbers that point outside the file are refused', () => {
  refuses(zipBytes([part('a', 'aaaa', { byteLength: 2 ** 50 })], { zip64: true }), /points outside the file/);
  refuses(zipBytes([part('a', 'aaaa', { localOffset: 2 ** 52 })], { zip64: true }), /points outside the file/);
});

test('entries that share bytes or a name are refused', () => {
  refuses(zipBytes([part('a', 'aaaa', { byteLength: 40 }), part('b', 'b'.repeat(40))]), /entry "b" overlaps another/);
  refuses(
    zipBytes([part('a', 'a'), part('b', 'b', { localName: 'a', name: 'a', localOffset: 0 })]),
    /overlaps another/,
  );
  refuses(zipBytes([part('a', 'a'), part('a', 'b')]), /entry "a" is there twice/);
});

test('an entry whose own header disagrees with the directory is refused', () => {
  refuses(zipBytes([part('a', 'a', { localName: 'b' })]), /entry "a" and the directory disagree/);
});

test('a directory that claims more than it has is refused', () => {
  const bytes = zipBytes([part('a', 'a')]);
  const claims = (offset: number, value: number) => {
    const changed = Buffer.from(bytes);
    changed.writeUInt16LE(value, bytes.length - 22 + offset);
    return changed;
  };
  refuses(claims(10, 2), /directory is damaged/);
  refuses(claims(12, 60_000), /runs over its end/);
  const wide = zipBytes([part('a', 'a')], { zip64: true });
  wide.writeBigUInt64LE(BigInt(wide.length), wide.length - 22 - 20 - 56 + 32);
  refuses(wide, /directory is damaged/);
});

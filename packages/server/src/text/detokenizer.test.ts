import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { StreamingDetokenizer } from './detokenizer.ts';
import { KINDS, unpackTokenizers } from './testdata/fixtures.ts';
import { openCodec, type TextCodec } from './text-codec.ts';
import { readTokenizerFiles } from './base-files.ts';

const data = unpackTokenizers();
after(() => data.remove());

const codecs = new Map<string, TextCodec>();
for (const kind of KINDS) codecs.set(kind, openCodec(await readTokenizerFiles(data.folderOf(kind))));
const codecOf = (kind: string): TextCodec => {
  const codec = codecs.get(kind);
  assert.ok(codec);
  return codec;
};

function stream(codec: TextCodec, prompt: readonly number[], ids: readonly number[]): string[] {
  const detokenizer = new StreamingDetokenizer(codec.decoder, prompt);
  return [...ids.map((id) => detokenizer.push(id).printable), detokenizer.flush()];
}

const plain = (codec: TextCodec, ids: readonly number[]): string =>
  codec.decoder.decode(ids, { skipSpecialTokens: true });

for (const kind of KINDS) {
  const codec = codecOf(kind);
  const bytes = Array.from({ length: 256 }, (_, byte) =>
    codec.idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  const byteIds = bytes.filter((id) => id !== undefined);
  const anyId = fc.oneof(
    fc.nat(codec.decoder.vocabSize - 1),
    fc.nat(2),
    fc.nat(300),
    fc.constantFrom(codec.decoder.vocabSize + 7, ...byteIds),
  );
  const ids = fc.array(anyId, { maxLength: 60 });

  test(`${kind}: the pieces of any ids add up to their decoding`, () => {
    fc.assert(
      fc.property(ids, (generated) => {
        assert.equal(stream(codec, [], generated).join(''), plain(codec, generated));
      }),
      { numRuns: 400 },
    );
  });

  test(`${kind}: after a prompt the pieces add up to what the decoding grows by`, () => {
    fc.assert(
      fc.property(fc.lorem(), ids, (prompt, generated) => {
        const promptIds = codec.encode(prompt, true);
        const whole = plain(codec, [...promptIds, ...generated]);
        const pieces = stream(codec, promptIds, generated).join('');
        assert.equal(plain(codec, promptIds) + pieces, whole);
      }),
      { numRuns: 200 },
    );
  });

  test(`${kind}: no piece holds half a character`, () => {
    const text = 'naïve 日本語 👩‍👩‍👧‍👦🔥 مرحبا\n';
    const pieces = stream(codec, [], codec.encode(text, false));
    for (const piece of pieces) assert.ok(!piece.includes('\ufffd') && !/\p{Surrogate}/u.test(piece), piece);
  });
}

test('a character comes with its last byte, whole', () => {
  const codec = codecOf('bpe_metaspace_llama2');
  const ids = codec.encode('a🔥b', false);
  const pieces = stream(codec, [1], ids);
  const fire = pieces.findIndex((piece) => piece.includes('🔥'));
  assert.equal(pieces.slice(0, fire).join(''), 'a');
  assert.deepEqual(pieces.slice(fire), ['🔥', 'b', '']);
});

test('U+FFFD that is meant comes with the next token at the latest', () => {
  const codec = codecOf('bpe_bytelevel_llama3');
  const detokenizer = new StreamingDetokenizer(codec.decoder, []);
  const [meant] = codec.encode('x', false);
  assert.ok(meant !== undefined);
  for (const id of codec.encode('\ufffd', false)) assert.equal(detokenizer.push(id).printable, '');
  assert.equal(detokenizer.push(meant).printable, '\ufffdx');
});

test('bytes that never become characters are not held back for ever', () => {
  const codec = codecOf('bpe_metaspace_llama2');
  const broken = codec.idOf('<0xFF>');
  assert.ok(broken !== undefined);
  const pieces = stream(
    codec,
    [],
    Array.from({ length: 100 }, () => broken),
  );
  assert.deepEqual(pieces, ['', ...Array.from({ length: 99 }, () => '\ufffd'), '\ufffd']);
});

test('a special token has its spelling as text and adds nothing to the output', () => {
  const codec = codecOf('bpe_metaspace_llama2');
  const detokenizer = new StreamingDetokenizer(codec.decoder, codec.encode('Once', true));
  assert.deepEqual(detokenizer.push(2), { text: '</s>', printable: '' });
  const [word] = codec.encode('upon', false);
  assert.ok(word !== undefined);
  const { text, printable } = detokenizer.push(word);
  assert.equal(text, printable);
  assert.ok(text.startsWith(' '), 'the space before a word survives the special token');
});

test('peek tells the text of another token without taking it', () => {
  const codec = codecOf('bpe_metaspace_llama2');
  const detokenizer = new StreamingDetokenizer(codec.decoder, codec.encode('Once', true));
  const [word] = codec.encode('upon', false);
  assert.ok(word !== undefined);
  assert.equal(detokenizer.peek(2), '</s>');
  const seen = detokenizer.peek(word);
  assert.equal(detokenizer.peek(word), seen);
  assert.equal(detokenizer.push(word).printable, seen);
});

test('the cost of a token does not grow with the text before it', () => {
  const codec = codecOf('bpe_bytelevel_llama3');
  let longest = 0;
  const counted = {
    isSpecial: (id: number) => codec.decoder.isSpecial(id),
    decode: (ids: readonly number[], options: { skipSpecialTokens: boolean }) => {
      longest = Math.max(longest, ids.length);
      return codec.decoder.decode(ids, options);
    },
  };
  const detokenizer = new StreamingDetokenizer(counted, codec.encode('word '.repeat(500), true));
  for (let index = 0; index < 2000; index++) detokenizer.push(100 + (index % 800));
  assert.ok(longest <= 16, `decoded ${longest} ids at once`);
});

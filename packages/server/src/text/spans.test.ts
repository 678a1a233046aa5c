import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { Tokenizer as Reference } from 'tokenizers';
import { KINDS, unpackTokenizers } from './testdata/fixtures.ts';
import { hardText } from './testdata/hard-text.ts';
import { openCodec } from './text-codec.ts';
import { readTokenizerFiles } from './base-files.ts';
import type { TokenSpan } from './tokenizer.ts';

const data = unpackTokenizers();
after(() => data.remove());

const offsets = (spans: readonly TokenSpan[]): number[][] => spans.map(({ start, stop }) => [start, stop]);

// NFKC and BERT's clean-up move characters in ways that only their own implementation could retrace; for the others the
// reference's offsets are met exactly.
for (const kind of ['bpe_bytelevel_llama3', 'bpe_metaspace_llama2']) {
  test(`${kind}: offsets as the reference gives them`, async () => {
    const codec = openCodec(await readTokenizerFiles(data.folderOf(kind)));
    const reference = Reference.fromFile(join(data.folderOf(kind), 'tokenizer.json'));
    await fc.assert(
      fc.asyncProperty(hardText, async (text) => {
        assert.deepEqual(offsets(codec.spans(text, true)), (await reference.encode(text)).getOffsets());
      }),
      { numRuns: 400 },
    );
  });
}

for (const kind of KINDS) {
  test(`${kind}: offsets of plain text as the reference gives them`, async () => {
    const codec = openCodec(await readTokenizerFiles(data.folderOf(kind)));
    const reference = Reference.fromFile(join(data.folderOf(kind), 'tokenizer.json'));
    const plain = fc.string({ unit: fc.constantFrom(...Array.from('aeinorsthd AMÉé,.!?- \n日本')), maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(plain, async (text) => {
        assert.deepEqual(offsets(codec.spans(text, true)), (await reference.encode(text)).getOffsets());
      }),
      { numRuns: 300 },
    );
  });

  test(`${kind}: spans are in order and inside the text, whatever it is`, async () => {
    const codec = openCodec(await readTokenizerFiles(data.folderOf(kind)));
    fc.assert(
      fc.property(hardText, (text) => {
        let last = 0;
        for (const { start, stop } of codec.spans(text, false)) {
          assert.ok(last <= start && start <= stop && stop <= Array.from(text).length);
          last = start;
        }
      }),
      { numRuns: 400 },
    );
  });
}

test('pieces are spelled as in the vocabulary and special tokens lie at nothing', async () => {
  const codec = openCodec(await readTokenizerFiles(data.folderOf('unigram_t5')));
  assert.deepEqual(codec.spans('the', true).at(-1), { id: 1, piece: '</s>', start: 0, stop: 0 });
  assert.deepEqual(codec.spans('</s>', false), [{ id: 1, piece: '</s>', start: 0, stop: 4 }]);
  assert.ok(codec.spans('日', false).some(({ piece }) => piece === '<unk>'));
});

test('white space around tokens is left out where the post-processor says so', async () => {
  const kind = 'bpe_bytelevel_llama3';
  const files = await readTokenizerFiles(data.folderOf(kind));
  const post_processor = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const codec = openCodec({ ...files, tokenizer: { ...files.tokenizer, post_processor } });
  const json = JSON.parse(readFileSync(join(data.folderOf(kind), 'tokenizer.json'), 'utf8')) as object;
  const reference = Reference.fromString(JSON.stringify({ ...json, post_processor }));
  const text = 'the  old man, \n and the sea';
  assert.deepEqual(offsets(codec.spans(text, true)), (await reference.encode(text)).getOffsets());
});

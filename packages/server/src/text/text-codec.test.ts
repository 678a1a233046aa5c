import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { Tokenizer as Reference } from 'tokenizers';
import { unpackTokenizers } from './testdata/fixtures.ts';
import { hardText } from './testdata/hard-text.ts';
import { openCodec, type TextCodec } from './text-codec.ts';
import { readTokenizerFiles } from './base-files.ts';
import type { TokenizerFiles } from './tokenizer-files.ts';

const data = unpackTokenizers();
after(() => data.remove());

const LLAMA = 'bpe_metaspace_llama2';
const BYTES = 'bpe_bytelevel_llama3';
const UNIGRAM = 'unigram_t5';
const BERT = 'wordpiece_bert';

type Sections = Readonly<Record<string, unknown>>;

async function both(kind: string, sections: Sections): Promise<{ ours: TextCodec; reference: Reference }> {
  const files: TokenizerFiles = await readTokenizerFiles(data.folderOf(kind));
  const json = JSON.parse(readFileSync(join(data.folderOf(kind), 'tokenizer.json'), 'utf8')) as Record<string, unknown>;
  const added = [
    ...files.tokenizer.added_tokens,
    ...((sections['added_tokens'] ?? []) as typeof files.tokenizer.added_tokens),
  ];
  const changed = { ...sections, added_tokens: added };
  return {
    ours: openCodec({ ...files, tokenizer: { ...files.tokenizer, ...changed } }),
    reference: Reference.fromString(JSON.stringify({ ...json, ...changed })),
  };
}

const split = (pattern: Record<string, string>, behavior: string, invert = false): Record<string, unknown> => ({
  type: 'Split',
  pattern,
  behavior,
  invert,
});
const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'];
const added = (id: number, content: string, flags: Record<string, boolean>): Record<string, unknown> => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: false,
  ...flags,
});

const ENCODERS: readonly (readonly [string, string, Sections])[] = [
  ...BEHAVIORS.flatMap((behavior): [string, string, Sections][] => [
    [`Split ${behavior} on a string`, LLAMA, { normalizer: null, pre_tokenizer: split({ String: 'e' }, behavior) }],
    [
      `Split ${behavior} on an expression`,
      LLAMA,
      { normalizer: null, pre_tokenizer: split({ Regex: '\\s+|o' }, behavior) },
    ],
    [
      `Split ${behavior}, inverted`,
      LLAMA,
      { normalizer: null, pre_tokenizer: split({ Regex: '\\w+' }, behavior, true) },
    ],
    [`Punctuation ${behavior}`, BERT, { pre_tokenizer: { type: 'Punctuation', behavior } }],
  ]),
  ['Digits, one by one', LLAMA, { normalizer: null, pre_tokenizer: { type: 'Digits', individual_digits: true } }],
  ['Digits, together', LLAMA, { normalizer: null, pre_tokenizer: { type: 'Digits', individual_digits: false } }],
  ['Whitespace', BERT, { pre_tokenizer: { type: 'Whitespace' } }],
  ['WhitespaceSplit', BERT, { pre_tokenizer: { type: 'WhitespaceSplit' } }],
  ['CharDelimiterSplit', BERT, { pre_tokenizer: { type: 'CharDelimiterSplit', delimiter: 'e' } }],
  [
    'ByteLevel with its own words',
    BYTES,
    { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true } },
  ],
  [
    'Metaspace, first word only',
    UNIGRAM,
    { pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: true } },
  ],
  [
    'Metaspace, never',
    UNIGRAM,
    { pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'never', split: false } },
  ],
  [
    'BertNormalizer, cased',
    BERT,
    {
      normalizer: {
        type: 'BertNormalizer',
        clean_text: false,
        handle_chinese_chars: true,
        strip_accents: true,
        lowercase: false,
      },
    },
  ],
  [
    'BertNormalizer, uncased with accents',
    BERT,
    {
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: false,
        strip_accents: false,
        lowercase: true,
      },
    },
  ],
  [
    'a sequence of normalisers',
    BERT,
    {
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'NFD' },
          { type: 'Lowercase' },
          { type: 'StripAccents' },
          { type: 'Strip', strip_left: true, strip_right: true },
        ],
      },
    },
  ],
  [
    'Replace with an expression',
    BERT,
    {
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'NFKC' },
          { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
          { type: 'Prepend', prepend: 'x' },
        ],
      },
    },
  ],
  [
    'added tokens with rules',
    BYTES,
    {
      added_tokens: [
        added(2000, "don't", { single_word: true }),
        added(2001, '[MASK]', { lstrip: true }),
        added(2002, '[CLS]', { rstrip: true }),
        added(2003, '[MASK][', {}),
      ],
    },
  ],
  [
    'added tokens in normalised text',
    LLAMA,
    { added_tokens: [added(1500, 'hello', { normalized: true }), added(1501, 'tê', { special: true })] },
  ],
  ['unknown pieces side by side', LLAMA, { model: undefined }],
];

for (const [name, kind, sections] of ENCODERS) {
  test(`${name}: same ids as the reference`, async () => {
    const { ours, reference } = await both(kind, withModel(kind, sections));
    await fc.assert(
      fc.asyncProperty(hardText, async (text) => {
        const expected = await reference.encode(text, null, { addSpecialTokens: true });
        assert.deepEqual(ours.encode(text, true), expected.getIds());
      }),
      { numRuns: 150 },
    );
  });
}

/** `model: undefined` stands for the folder's model without its byte fallback. */
function withModel(kind: string, sections: Sections): Sections {
  if (!('model' in sections)) return sections;
  const { model } = JSON.parse(readFileSync(join(data.folderOf(kind), 'tokenizer.json'), 'utf8')) as { model: object };
  return { model: { ...model, byte_fallback: false, fuse_unk: false } };
}

const FRAMES: readonly (readonly [string, Record<string, unknown>])[] = [
  [
    'RobertaProcessing',
    { type: 'RobertaProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2], trim_offsets: true, add_prefix_space: false },
  ],
  ['BertProcessing', { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] }],
  [
    'a template whose token has another name',
    {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: 'start', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
      special_tokens: { start: { id: 'start', ids: [2, 4], tokens: ['[CLS]', '[MASK]'] } },
    },
  ],
];
for (const [name, post_processor] of FRAMES) {
  test(`${name}: same special tokens as the reference`, async () => {
    const { ours, reference } = await both(BERT, { post_processor });
    for (const addSpecialTokens of [true, false]) {
      const expected = await reference.encode('Once upon', null, { addSpecialTokens });
      assert.deepEqual(ours.encode('Once upon', addSpecialTokens), expected.getIds());
    }
  });
}

const DECODERS: readonly (readonly [string, string, unknown])[] = [
  ['no decoder', LLAMA, null],
  ['Metaspace', LLAMA, { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true }],
  [
    'Metaspace that never prepends',
    LLAMA,
    { type: 'Metaspace', replacement: '▁', prepend_scheme: 'never', split: true },
  ],
  ['WordPiece without clean-up', BERT, { type: 'WordPiece', prefix: '##', cleanup: false }],
  ['WordPiece with clean-up', BERT, { type: 'WordPiece', prefix: '##', cleanup: true }],
  ['BPEDecoder', LLAMA, { type: 'BPEDecoder', suffix: '▁' }],
  [
    'Strip at the start',
    LLAMA,
    { type: 'Sequence', decoders: [{ type: 'Fuse' }, { type: 'Strip', content: '▁', start: 2, stop: 0 }] },
  ],
  ['Replace with an expression', LLAMA, { type: 'Replace', pattern: { Regex: '[aeiou]+' }, content: '*' }],
  ['ByteLevel', BYTES, { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true }],
];
for (const [name, kind, decoder] of DECODERS) {
  test(`${name}: same decoding as the reference`, async () => {
    const { ours, reference } = await both(kind, { decoder });
    const ids = fc.array(fc.nat(ours.decoder.vocabSize + 2), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(ids, fc.boolean(), async (some, skipSpecialTokens) => {
        assert.equal(ours.decoder.decode(some, { skipSpecialTokens }), await reference.decode(some, skipSpecialTokens));
      }),
      { numRuns: 150 },
    );
  });
}

test('Strip takes from both ends what is there to take', async () => {
  const strip = { type: 'Strip', content: '▁', start: 1, stop: 2 };
  const { ours } = await both(LLAMA, { decoder: { type: 'Sequence', decoders: [{ type: 'Fuse' }, strip] } });
  const [marker, letter] = [ours.idOf('▁') ?? -1, ours.idOf('a') ?? -1];
  const decode = (...ids: number[]): string => ours.decoder.decode(ids, { skipSpecialTokens: true });
  assert.equal(decode(marker, marker, letter, marker, marker, marker), '▁a▁');
  assert.equal(decode(marker), '');
});

test('a run of byte pieces keeps its valid characters when one byte is wrong', async () => {
  const { ours } = await both(LLAMA, {});
  const ids = ['<0xE6>', '<0x97>', '<0xA5>', '<0xFF>'].map((piece) => ours.idOf(piece) ?? -1);
  assert.equal(ours.decoder.decode(ids, { skipSpecialTokens: true }), '日\ufffd');
});

test('a word without end is encoded whatever the model', async () => {
  for (const kind of [LLAMA, BYTES, UNIGRAM, BERT]) {
    const { ours } = await both(kind, {});
    const ids = ours.encode('a'.repeat(150_000), false);
    assert.equal(kind === BERT ? ids.length : ids.length >= 150_000, kind === BERT ? 1 : true);
  }
});

test('Unigram falls back to bytes where its settings say so', async () => {
  const { model } = JSON.parse(readFileSync(join(data.folderOf(UNIGRAM), 'tokenizer.json'), 'utf8')) as {
    model: { vocab: [string, number][] };
  };
  const bytes = Array.from({ length: 256 }, (_, byte): [string, number] => [
    `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    0,
  ]);
  const { ours, reference } = await both(UNIGRAM, {
    model: { ...model, vocab: [...model.vocab, ...bytes], byte_fallback: true },
  });
  for (const text of ['日本', 'the 日', 'é1']) {
    assert.deepEqual(ours.encode(text, true), (await reference.encode(text)).getIds());
  }
});

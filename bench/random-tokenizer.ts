/** A byte-level tokenizer of any vocabulary size: ASCII, then made-up words that only generated tokens can name. */

import { toByteChars } from '#server/text/byte-alphabet.ts';

const SPECIAL_TOKENS = ['<unk>', '<s>', '</s>'] as const;
const ASCII = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code));
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/** Smaller vocabularies could not spell a prompt. */
export const MIN_VOCAB_SIZE = SPECIAL_TOKENS.length + ASCII.length;

/** The content of `tokenizer.json`; token i is the same for every vocabulary size. */
export function tokenizerJson(vocabSize: number): object {
  const words = Array.from({ length: vocabSize - MIN_VOCAB_SIZE }, (_, index) => ` ${word(index)}`);
  const tokens = [...SPECIAL_TOKENS, ...[...ASCII, ...words].map(toByteChars)];
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const flags = { special: true, normalized: false, single_word: false, lstrip: false, rstrip: false };
  return {
    version: '1.0',
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      unk_token: null,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
}

/** Two letters or more, no two alike. */
function word(index: number): string {
  let letters = '';
  for (let left = index + LETTERS.length; left > 0; left = Math.floor(left / LETTERS.length)) {
    letters = LETTERS.charAt(left % LETTERS.length) + letters;
  }
  return letters;
}

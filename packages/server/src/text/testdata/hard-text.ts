/** Texts that tokenizers disagree about, for comparing two of them. */
import fc from 'fast-check';

const WORDS = ['the', '</s>', '<s>', '<unk>', '<|im_start|>', '[MASK]', '[CLS]', ' world', "don't", '  ', 'Once upon'];
const CHARS =
  'aAbcdeéßŒœ 1234٣½ \t\n\r!?.,\'"-_<>/|[]()▁日本語テé́à̈😀👩ﬁＡ①µΣςİı\u00a0\u200b\u200d\u3000\ufeff\u0085\u00ad\u0000\ufffdk\u0301한국어مرحباไทย';
const HARD = WORDS.concat(Array.from(CHARS));

/** Blocks that were full long ago: two libraries may disagree on characters that one's Unicode tables do not have yet. */
const BLOCKS =
  '0-2af 300-34e 391-3a1 400-481 5d0-5ea 620-652 905-94d e01-e3a 2000-2064 20a0-20b5 2100-214d 2190-23f3 2460-26a0 ' +
  '3000-303f 3041-3096 30a0-30ff 3400-4db5 4e00-9fa5 ac00-d7a3 f900-fa2d fe70-fe74 ff01-ff5e fffd-fffd 1d400-1d454 ' +
  '1f300-1f320 20000-2a6d6 2f800-2fa1d';
const oldChar = fc.oneof(
  ...BLOCKS.split(' ').map((block) => {
    const [min = 0, max = 0] = block.split('-').map((hex) => Number.parseInt(hex, 16));
    return fc.integer({ min, max }).map((code) => String.fromCodePoint(code));
  }),
);
export const hardText = fc.oneof(
  fc.array(fc.constantFrom(...HARD), { maxLength: 30 }).map((parts) => parts.join('')),
  fc.string({ unit: oldChar, maxLength: 40 }),
  fc.lorem(),
);


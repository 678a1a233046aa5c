/** Texts that tokenizers disagree about, for comparing two of them. */
import fc from 'fast-check';

const HARD = [
  ...[
    'the',
    '</s>',
    '<s>',
    '<unk>',
    '<|im_start|>',
    '[MASK]',
    '[CLS]',
    ' world',
    "don't",
    '  ',
    'Once upon a time',
    'ing',
  ],
  ...'aAbcdeéßŒœ 1234٣½ \t\n\r!?.,\'"-_<>/|[]()▁日本語テé́à̈😀👩ﬁＡ①µΣςİı\u00a0\u200b\u200d\u3000\ufeff\u0085\u00ad\u0000\ufffdk\u0301한국어مرحباไทย',
];
/** Blocks that were full long ago: two libraries may disagree on characters that one's Unicode tables do not have yet. */
const BLOCKS = [
  ...[
    [0x00, 0x2af],
    [0x300, 0x34e],
    [0x391, 0x3a1],
    [0x400, 0x481],
    [0x5d0, 0x5ea],
    [0x620, 0x652],
    [0x905, 0x94d],
  ],
  ...[
    [0xe01, 0xe3a],
    [0x2000, 0x2064],
    [0x20a0, 0x20b5],
    [0x2100, 0x214d],
    [0x2190, 0x23f3],
    [0x2460, 0x26a0],
  ],
  ...[
    [0x3000, 0x303f],
    [0x3041, 0x3096],
    [0x30a0, 0x30ff],
    [0x3400, 0x4db5],
    [0x4e00, 0x9fa5],
    [0xac00, 0xd7a3],
  ],
  ...[
    [0xf900, 0xfa2d],
    [0xfe70, 0xfe74],
    [0xff01, 0xff5e],
    [0xfffd, 0xfffd],
    [0x1d400, 0x1d454],
    [0x1f300, 0x1f320],
  ],
  ...[
    [0x20000, 0x2a6d6],
    [0x2f800, 0x2fa1d],
  ],
];
const oldChar = fc.oneof(
  ...BLOCKS.map(([min, max]) => fc.integer({ min: min ?? 0, max: max ?? 0 }).map((code) => String.fromCodePoint(code))),
);
export const hardText = fc.oneof(
  fc.array(fc.constantFrom(...HARD), { maxLength: 30 }).map((parts) => parts.join('')),
  fc.string({ unit: oldChar, maxLength: 40 }),
  fc.lorem(),
);


/**
 * The `normalizer` section of tokenizer.json as a function from text to text. Knows nothing about tokens.
 * Written here because the library lowers case by context (final sigma), sees no Chinese beyond the basic plane and only
 * approximates SentencePiece's precompiled tables.
 */
import { z } from 'zod';
import { replacerOf } from './hf-library.ts';
import { precompiledNormalizer } from './precompiled-charsmap.ts';

export type Normalize = (text: string) => string;

const typed = z.looseObject({ type: z.string() });
const bertConfig = z.object({
  clean_text: z.boolean().default(true),
  handle_chinese_chars: z.boolean().default(true),
  strip_accents: z.boolean().nullish(),
  lowercase: z.boolean().default(true),
});
const replaceConfig = z.object({
  pattern: z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]),
  content: z.string(),
});
const stripConfig = z.object({ strip_left: z.boolean().default(true), strip_right: z.boolean().default(true) });

/** Throws on an unknown type or a malformed section; without a section texts stay as they are. */
export function normalizerOf(config: unknown): Normalize {
  if (config === null || config === undefined) return (text) => text;
  const { type, ...rest } = typed.parse(config);
  switch (type) {
    case 'Sequence': {
      const steps = z
        .object({ normalizers: z.array(z.unknown()) })
        .parse(rest)
        .normalizers.map(normalizerOf);
      return (text) => steps.reduce((current, step) => step(current), text);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(type);
    case 'Lowercase':
      return lowerCase;
    case 'Strip':
      return strip(stripConfig.parse(rest));
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '');
    case 'Prepend': {
      const { prepend } = z.object({ prepend: z.string() }).parse(rest);
      return (text) => (text === '' ? '' : prepend + text);
    }
    case 'Replace': {
      const { pattern, content } = replaceConfig.parse(rest);
      return replacerOf(pattern, content);
    }
    case 'BertNormalizer':
      return bert(bertConfig.parse(rest));
    case 'Precompiled':
      return precompiledNormalizer(z.object({ precompiled_charsmap: z.base64() }).parse(rest).precompiled_charsmap);
    default:
      throw new Error(`normalizer type ${type} is not supported`);
  }
}

/** Character by character: the reference knows no context, such as a sigma at the end of a word. */
function lowerCase(text: string): string {
  let lowered = '';
  for (const char of text) lowered += char.toLowerCase();
  return lowered;
}

function strip(config: z.infer<typeof stripConfig>): Normalize {
  return (text) => {
    const left = config.strip_left ? text.replace(/^\p{White_Space}+/u, '') : text;
    return config.strip_right ? left.replace(/\p{White_Space}+$/u, '') : left;
  };
}

const CONTROL = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/gu;
const CHINESE =
  /[\u{4e00}-\u{9fff}\u{3400}-\u{4dbf}\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{f900}-\u{faff}\u{2f800}-\u{2fa1f}]/gu;

/** BERT's basic tokenizer. Accents go with the case unless the configuration says otherwise. */
function bert(config: z.infer<typeof bertConfig>): Normalize {
  const stripsAccents = config.strip_accents ?? config.lowercase;
  return (text) => {
    let result = text;
    if (config.clean_text) result = result.replace(CONTROL, '').replace(/\p{White_Space}/gu, ' ');
    if (config.handle_chinese_chars) result = result.replace(CHINESE, ' $& ');
    if (stripsAccents) result = result.normalize('NFD').replace(/\p{Mn}/gu, '');
    return config.lowercase ? lowerCase(result) : result;
  };
}

/**
 * The `pre_tokenizer` section of tokenizer.json as a function from a text to its words. Knows nothing about vocabularies.
 * Written here because the library lacks three of the five split behaviours, splits no words in Metaspace and reads
 * `\w`, `\d` and `\s` as ASCII; it is kept for translating the regular expression dialect of `Split`.
 */
import { z } from 'zod';
import { toByteChars } from './byte-alphabet.ts';
import { translatePattern } from './hf-library.ts';

/** `atStart` says that `text` begins the whole input: some markers are put only there. */
export type PreTokenize = (text: string, atStart: boolean) => string[];

const behaviors = z.enum(['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']);
type Behavior = z.infer<typeof behaviors>;

const typed = z.looseObject({ type: z.string() });
const splitConfig = z.object({
  pattern: z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]),
  behavior: behaviors,
  invert: z.boolean().default(false),
});
const byteLevelConfig = z.object({ add_prefix_space: z.boolean().default(true), use_regex: z.boolean().default(true) });
const metaspaceConfig = z.object({
  replacement: z.string().default('▁'),
  prepend_scheme: z.enum(['always', 'first', 'never']).default('always'),
  add_prefix_space: z.boolean().default(true),
  split: z.boolean().default(true),
});

const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';
const SPACE = '\\p{White_Space}';
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const WHITE_SPACE = /\p{White_Space}/gu;
/** GPT-2's pattern, with the reference's Unicode meaning of white space. */
const BYTE_LEVEL_WORDS = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`,
  'gu',
);

/** Throws on an unknown type or a malformed section; without a section the whole text is one word. */
export function preTokenizerOf(config: unknown): PreTokenize {
  if (config === null || config === undefined) return (text) => [text];
  const { type, ...rest } = typed.parse(config);
  switch (type) {
    case 'Sequence':
      return sequence(
        z
          .object({ pretokenizers: z.array(z.unknown()) })
          .parse(rest)
          .pretokenizers.map(preTokenizerOf),
      );
    case 'Split':
      return split(splitConfig.parse(rest));
    case 'ByteLevel':
      return byteLevel(byteLevelConfig.parse(rest));
    case 'Metaspace':
      return metaspace(metaspaceConfig.parse(rest));
    case 'Digits': {
      const { individual_digits } = z.object({ individual_digits: z.boolean().default(false) }).parse(rest);
      return (text) => arrange(divide(text, /\p{N}/gu), individual_digits ? 'Isolated' : 'Contiguous');
    }
    case 'Punctuation': {
      const { behavior } = z.object({ behavior: behaviors.default('Isolated') }).parse(rest);
      return (text) => arrange(divide(text, PUNCTUATION), behavior);
    }
    case 'BertPreTokenizer':
      return (text) =>
        arrange(divide(text, WHITE_SPACE), 'Removed').flatMap((word) => arrange(divide(word, PUNCTUATION), 'Isolated'));
    case 'Whitespace':
      return (text) => text.match(new RegExp(`[${WORD}]+|[^${WORD}${SPACE}]+`, 'gu')) ?? [];
    case 'WhitespaceSplit':
      return (text) => arrange(divide(text, WHITE_SPACE), 'Removed');
    case 'CharDelimiterSplit':
      return split({
        pattern: { String: z.object({ delimiter: z.string() }).parse(rest).delimiter },
        behavior: 'Removed',
        invert: false,
      });
    default:
      throw new Error(`pre-tokenizer type ${type} is not supported`);
  }
}

/** Whether words reach the model spelled in the byte alphabet. */
export function isByteLevel(config: unknown): boolean {
  const { type, pretokenizers } = z
    .looseObject({ type: z.string(), pretokenizers: z.array(z.unknown()).default([]) })
    .nullish()
    .parse(config) ?? { type: 'none', pretokenizers: [] };
  return type === 'ByteLevel' || pretokenizers.some(isByteLevel);
}

function sequence(steps: readonly PreTokenize[]): PreTokenize {
  return (text, atStart) =>
    steps.reduce<string[]>((words, step) => words.flatMap((word, index) => step(word, atStart && index === 0)), [text]);
}

function split(config: z.infer<typeof splitConfig>): PreTokenize {
  const pattern = translatePattern(config.pattern);
  return (text) => arrange(divide(text, pattern, config.invert), config.behavior);
}

function byteLevel(config: z.infer<typeof byteLevelConfig>): PreTokenize {
  return (text) => {
    const prefixed = config.add_prefix_space && !text.startsWith(' ') ? ` ${text}` : text;
    const words = config.use_regex ? (prefixed.match(BYTE_LEVEL_WORDS) ?? []) : [prefixed];
    return words.map(toByteChars);
  };
}

function metaspace(config: z.infer<typeof metaspaceConfig>): PreTokenize {
  const marker = config.replacement;
  const scheme = config.add_prefix_space ? config.prepend_scheme : 'never';
  const pattern = translatePattern({ String: marker });
  return (text, atStart) => {
    const marked = text.replaceAll(' ', marker);
    const prepends = scheme === 'always' || (scheme === 'first' && atStart);
    const whole = prepends && !marked.startsWith(marker) ? marker + marked : marked;
    return config.split ? arrange(divide(whole, pattern), 'MergedWithNext') : [whole];
  };
}

interface Part {
  text: string;
  readonly isDelimiter: boolean;
}

/** The text in parts, each a match of the pattern (a delimiter) or what lies between two; `invert` swaps the two. */
function divide(text: string, pattern: RegExp, invert = false): Part[] {
  const parts: Part[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) parts.push({ text: text.slice(end, match.index), isDelimiter: invert });
    if (match[0] !== '') parts.push({ text: match[0], isDelimiter: !invert });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), isDelimiter: invert });
  return parts;
}

/** What becomes of delimiters: dropped, words of their own, or joined to a neighbour. */
function arrange(parts: readonly Part[], behavior: Behavior): string[] {
  switch (behavior) {
    case 'Removed':
      return parts.filter((part) => !part.isDelimiter).map((part) => part.text);
    case 'Isolated':
      return parts.map((part) => part.text);
    case 'Contiguous':
      return merge(parts, (previous, part) => previous.isDelimiter === part.isDelimiter);
    case 'MergedWithPrevious':
      return merge(parts, (previous, part) => part.isDelimiter && !previous.isDelimiter);
    case 'MergedWithNext':
      return merge(parts, (previous, part) => previous.isDelimiter && !part.isDelimiter);
  }
}

/** Joins a part to the one before it where `joins` says so; both are judged as they were before any joining. */
function merge(parts: readonly Part[], joins: (previous: Part, part: Part) => boolean): string[] {
  const merged: string[] = [];
  let previous: Part | undefined;
  for (const part of parts) {
    if (previous !== undefined && joins(previous, part)) merged[merged.length - 1] += part.text;
    else merged.push(part.text);
    previous = part;
  }
  return merged;
}

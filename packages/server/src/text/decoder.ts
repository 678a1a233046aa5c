/**
 * The `decoder` section of tokenizer.json as a function from vocabulary pieces to text. Knows nothing about ids.
 * Written here because the library's byte decoders are quadratic in the added tokens, drop a byte order mark and merge
 * pieces around added tokens differently from the reference implementation.
 */
import { z } from 'zod';
import { fromByteChars } from './byte-alphabet.ts';
import { replacerOf } from './hf-library.ts';

export type DecodePieces = (pieces: readonly string[]) => string;
type Step = (pieces: readonly string[]) => string[];

/** Throws on an unknown type or a malformed section; without a section pieces are joined by spaces. */
export function decoderOf(config: unknown): DecodePieces {
  if (config === null || config === undefined) return (pieces) => pieces.join(' ');
  const step = stepOf(config);
  return (pieces) => step(pieces).join('');
}

const typed = z.looseObject({ type: z.string() });
const replaceConfig = z.object({
  pattern: z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]),
  content: z.string(),
});
const stripConfig = z.object({ content: z.string(), start: z.int(), stop: z.int() });
const metaspaceConfig = z.object({
  replacement: z.string().default('▁'),
  prepend_scheme: z.string().optional(),
  add_prefix_space: z.boolean().optional(),
});

function stepOf(config: unknown): Step {
  const { type, ...rest } = typed.parse(config);
  switch (type) {
    case 'Sequence':
      return sequence(
        z
          .object({ decoders: z.array(z.unknown()) })
          .parse(rest)
          .decoders.map(stepOf),
      );
    case 'ByteLevel':
      return byteLevel;
    case 'ByteFallback':
      return byteFallback;
    case 'Fuse':
      return (pieces) => [pieces.join('')];
    case 'Metaspace':
      return metaspace(metaspaceConfig.parse(rest));
    case 'Replace':
      return replace(replaceConfig.parse(rest));
    case 'Strip':
      return strip(stripConfig.parse(rest));
    case 'WordPiece':
      return wordPiece(z.object({ prefix: z.string().default('##'), cleanup: z.boolean().default(true) }).parse(rest));
    case 'BPEDecoder':
      return suffixed(z.object({ suffix: z.string().default('</w>') }).parse(rest).suffix);
    default:
      throw new Error(`decoder type ${type} is not supported`);
  }
}

function sequence(steps: readonly Step[]): Step {
  return (pieces) => steps.reduce<string[]>((current, step) => step(current), [...pieces]);
}

/** A piece with a character outside the byte alphabet (an added token) stands for its own UTF-8 bytes. */
const byteLevel: Step = (pieces) => {
  const bytes = pieces.flatMap((piece) => fromByteChars(piece) ?? [...Buffer.from(piece, 'utf8')]);
  return [Buffer.from(bytes).toString('utf8')];
};

const BYTE_PIECE = /^<0x([0-9a-fA-F]{2})>$/;

/** The byte that `<0xNN>` stands for, or `undefined` for any other piece. */
export function byteOfPiece(piece: string): number | undefined {
  const hex = BYTE_PIECE.exec(piece)?.[1];
  return hex === undefined ? undefined : Number.parseInt(hex, 16);
}

/**
 * Runs of byte pieces become text, each malformed part one U+FFFD. The reference turns every byte of a run with any
 * malformed part into U+FFFD, which would take back characters that a stream has already shown.
 */
const byteFallback: Step = (pieces) => {
  const decoded: string[] = [];
  let run: number[] = [];
  const endRun = (): void => {
    if (run.length > 0) decoded.push(Buffer.from(run).toString('utf8'));
    run = [];
  };
  for (const piece of pieces) {
    const byte = byteOfPiece(piece);
    if (byte === undefined) {
      endRun();
      decoded.push(piece);
    } else run.push(byte);
  }
  endRun();
  return decoded;
};

/** The reference removes every marker of the first piece, not one. */
function metaspace(config: z.infer<typeof metaspaceConfig>): Step {
  const prepends = config.prepend_scheme !== 'never' && config.add_prefix_space !== false;
  return (pieces) =>
    pieces.map((piece, index) => piece.replaceAll(config.replacement, index === 0 && prepends ? '' : ' '));
}

function replace(config: z.infer<typeof replaceConfig>): Step {
  const replaced = replacerOf(config.pattern, config.content);
  return (pieces) => pieces.map(replaced);
}

function strip(config: z.infer<typeof stripConfig>): Step {
  return (pieces) =>
    pieces.map((piece) => {
      const chars = Array.from(piece);
      let from = 0;
      while (from < config.start && chars[from] === config.content) from += 1;
      let to = chars.length;
      while (chars.length - to < config.stop && to > from && chars[to - 1] === config.content) to -= 1;
      return chars.slice(from, to).join('');
    });
}

function wordPiece(config: { readonly prefix: string; readonly cleanup: boolean }): Step {
  return (pieces) =>
    pieces.map((piece, index) => {
      const continued = piece.startsWith(config.prefix);
      const text = index === 0 ? piece : continued ? piece.slice(config.prefix.length) : ` ${piece}`;
      return config.cleanup ? cleanUpSpaces(text) : text;
    });
}

function suffixed(suffix: string): Step {
  return (pieces) => pieces.map((piece, index) => piece.replaceAll(suffix, index === pieces.length - 1 ? '' : ' '));
}

/** transformers' `clean_up_tokenization`: undoes the spaces that word tokenizers put before English punctuation. */
export function cleanUpSpaces(text: string): string {
  return text
    .replace(/ ([.?!,])/g, '$1')
    .replaceAll(" ' ", "'")
    .replace(/ (n't|'m|'s|'ve|'re)/g, '$1');
}

/**
 * The parts of `@huggingface/tokenizers` that are used here, with their types: the package's own declarations import
 * without file extensions, so that under Node's module resolution most of them are missing and the rest are `any`.
 */
import * as exported from '@huggingface/tokenizers';

interface Replacer {
  normalize(text: string): string;
}

interface LibraryModel {
  (words: readonly string[]): string[];
  readonly tokens_to_ids: Map<string, number>;
  /** Of Unigram models only; the call above overflows the stack for words of 100 000 characters. */
  readonly tokenize?: (word: string) => string[];
}

export interface Model {
  /** Ids by piece; added tokens are put in by their owner. */
  readonly ids: Map<string, number>;
  /** A word as pieces; its unknown parts come as the unknown token, or as themselves from a Unigram model. */
  divide(word: string): string[];
}

type Pattern = { readonly String: string } | { readonly Regex: string };

interface Library {
  readonly Tokenizer: new (tokenizer: object, config: object) => { readonly model: LibraryModel };
  readonly ReplaceNormalizer: new (config: { pattern: Pattern; content: string }) => Replacer;
  readonly SplitPreTokenizer: new (config: { pattern: Pattern }) => { readonly pattern: RegExp | null };
}

const library = exported as unknown as Library;

/** The `model` section of a tokenizer.json; throws on types that the library does not know. */
export function openModel(section: object): Model {
  const none = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const { model } = new library.Tokenizer({ ...none, added_tokens: [], model: section }, {});
  const ids = model.tokens_to_ids;
  const divide = (word: string): string[] => {
    return model.tokenize === undefined ? model([word]) : fuseUnknown(model.tokenize(word), ids);
  };
  return { ids, divide };
}

function fuseUnknown(pieces: readonly string[], ids: ReadonlyMap<string, number>): string[] {
  const fused: string[] = [];
  let afterUnknown = false;
  for (const piece of pieces) {
    const unknown = !ids.has(piece);
    if (unknown && afterUnknown) fused[fused.length - 1] += piece;
    else fused.push(piece);
    afterUnknown = unknown;
  }
  return fused;
}

/** Replaces a pattern written in the reference's regular expression dialect. */
export function replacerOf(pattern: Pattern, content: string): (text: string) => string {
  const replacer = new library.ReplaceNormalizer({ pattern, content });
  return (text) => replacer.normalize(text);
}

/** The pattern as a JavaScript expression with the flags `gu`. */
export function translatePattern(pattern: Pattern): RegExp {
  const translated = new library.SplitPreTokenizer({ pattern }).pattern;
  if (translated === null) throw new Error('a pattern is neither a string nor a regular expression');
  return translated;
}

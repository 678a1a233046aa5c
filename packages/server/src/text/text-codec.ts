/**
 * One model's tokenizer, synchronous: text to ids and back. The library supplies the model (BPE, Unigram, WordPiece);
 * the steps around it are ours, so that each follows the reference implementation and offsets can be told. Knows nothing about workers or chat templates.
 */
import { type AddedToken, AddedTokenFinder } from './added-tokens.ts';
import { type Model, openModel } from './hf-library.ts';
import { type Normalize, normalizerOf } from './normalizer.ts';
import { isByteLevel, type PreTokenize, preTokenizerOf } from './pre-tokenizer.ts';
import { type AlignedSection, alignTokens } from './spans.ts';
import { type SpecialFrame, specialFrameOf } from './special-frame.ts';
import { addedTokensOf } from './special-tokens.ts';
import { type DecodeTable, decodeTable, TokenDecoder } from './token-decoder.ts';
import {
  describeProblem,
  TextFileError,
  type TokenizerConfig,
  type TokenizerFiles,
  type TokenizerJson,
} from './tokenizer-files.ts';
import type { TokenSpan } from './tokenizer.ts';
import { type PieceSpelling, unitOf, type Word, wordOf } from './word.ts';

/** More is a damaged file: the table of pieces is an array. */
const MAX_VOCAB_SIZE = 1 << 24;
const BYTE_PIECES: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
);

interface Section {
  /** UTF-16 offsets into the text. */
  readonly start: number;
  readonly stop: number;
  /** The added token that was cut out here. */
  readonly token: AddedToken | undefined;
  readonly words: readonly Word[];
}

/** Throws a `TextFileError` if the files describe a tokenizer that cannot be followed exactly, or a larger one. */
export function openCodec(
  files: Pick<TokenizerFiles, 'tokenizer' | 'config'>,
  maxVocabSize: number = MAX_VOCAB_SIZE,
): TextCodec {
  try {
    return new TextCodec(files, maxVocabSize);
  } catch (error) {
    throw new TextFileError('tokenizer.json', describeProblem(error), { cause: error });
  }
}

export class TextCodec {
  readonly decodeTable: DecodeTable;
  readonly decoder: TokenDecoder;
  readonly #model: Model;
  readonly #normalize: Normalize;
  readonly #preTokenize: PreTokenize;
  /** What `settingsKey` needs of tokenizer.json. */
  readonly #file: Pick<TokenizerJson, 'added_tokens' | 'post_processor'> & { readonly isBpe: boolean };
  readonly #frame: SpecialFrame;
  readonly #rawFinder = new AddedTokenFinder();
  readonly #normalizedFinder = new AddedTokenFinder();
  readonly #unknownId: number | undefined;
  readonly #spelling: PieceSpelling;

  constructor(files: Pick<TokenizerFiles, 'tokenizer' | 'config'>, maxVocabSize: number) {
    const { tokenizer, config } = files;
    const { added_tokens, post_processor } = tokenizer;
    this.#file = { added_tokens, post_processor, isBpe: tokenizer.model['merges'] !== undefined };
    this.#model = modelOf(tokenizer.model);
    this.#normalize = normalizerOf(tokenizer.normalizer);
    this.#preTokenize = preTokenizerOf(tokenizer.pre_tokenizer);
    const added = addedTokensOf(files, (content) => this.#model.ids.get(content));
    this.#register(added);
    this.decodeTable = decodeTable(piecesById(this.#model.ids, maxVocabSize), added, {
      decoder: JSON.stringify(tokenizer.decoder ?? null),
      cleansUp: this.#cleansUp(config),
    });
    this.decoder = new TokenDecoder(this.decodeTable);
    this.#unknownId = tokenizer.model.unk_id ?? this.idOf(tokenizer.model.unk_token ?? '');
    this.#spelling = {
      byteLevel: isByteLevel(tokenizer.pre_tokenizer),
      unigram: Array.isArray(tokenizer.model['vocab']),
      byteFallback: tokenizer.model.byte_fallback === true,
      prefix: tokenizer.model.continuing_subword_prefix ?? '',
      suffix: tokenizer.model.end_of_word_suffix ?? '',
      unknownId: this.#unknownId,
    };
    this.#frame = this.#frameFor(config);
  }

  idOf(piece: string): number | undefined {
    return this.#model.ids.get(piece);
  }

  /** Equal for configurations that make the same codec of this tokenizer.json. */
  settingsKey(config: TokenizerConfig): string {
    const added = addedTokensOf({ tokenizer: this.#file, config }, (content) => this.idOf(content))
      .toSorted((a, b) => a.id - b.id)
      .map((token) => [
        ...[token.id, token.content, token.special, token.normalized],
        ...[token.single_word, token.lstrip, token.rstrip],
      ]);
    return JSON.stringify([added, this.#frameFor(config), this.#cleansUp(config)]);
  }

  encode(text: string, addSpecialTokens: boolean): number[] {
    const ids: number[] = addSpecialTokens ? [...this.#frame.before] : [];
    for (const { words } of this.#sections(wellFormed(text))) {
      for (const word of words) this.#idsOf(word).forEach((id) => ids.push(id));
    }
    if (addSpecialTokens) ids.push(...this.#frame.after);
    return ids;
  }

  /** Offsets count Unicode code points; special tokens that the text does not hold are at [0, 0). */
  spans(text: string, addSpecialTokens: boolean): TokenSpan[] {
    const aligned = alignTokens(wellFormed(text), this.#alignedSections(wellFormed(text)), this.#frame.trimsOffsets);
    const outside = (id: number): { id: number; start: number; stop: number } => ({ id, start: 0, stop: 0 });
    const framed = addSpecialTokens
      ? [...this.#frame.before.map(outside), ...aligned, ...this.#frame.after.map(outside)]
      : aligned;
    return framed.map(({ id, start, stop }) => ({ id, piece: this.decoder.pieceOf(id), start, stop }));
  }

  #register(tokens: readonly AddedToken[]): void {
    for (const token of tokens) {
      this.#model.ids.set(token.content, token.id);
      if (token.normalized) this.#normalizedFinder.add(this.#normalize(token.content), token);
      else this.#rawFinder.add(token.content, token);
    }
  }

  /** Clean-up was made for word tokenizers; in BPE it would delete spaces that the model wrote (`x != y`). */
  #cleansUp(config: TokenizerConfig): boolean {
    return config.clean_up_tokenization_spaces === true && !this.#file.isBpe;
  }

  /** Llama tokenizers take their special tokens from the configuration, whatever tokenizer.json says. */
  #frameFor(config: TokenizerConfig): SpecialFrame {
    const written = specialFrameOf(this.#file.post_processor);
    const name = config.tokenizer_class;
    if (name !== 'LlamaTokenizer' && name !== 'LlamaTokenizerFast') return written;
    const bos = (config.add_bos_token ?? true) ? this.idOf(config.bos_token ?? '') : undefined;
    const eos = (config.add_eos_token ?? false) ? this.idOf(config.eos_token ?? '') : undefined;
    return {
      before: bos === undefined ? [] : [bos],
      after: eos === undefined ? [] : [eos],
      trimsOffsets: written.trimsOffsets,
    };
  }

  *#sections(text: string): Generator<Section> {
    for (const { start, stop, token } of this.#rawFinder.split(text)) {
      const words = token === undefined ? this.#words(text.slice(start, stop), start === 0) : [wordOf(token)];
      yield { start, stop, token, words };
    }
  }

  #words(text: string, atStart: boolean): Word[] {
    const normalized = this.#normalize(text);
    return this.#normalizedFinder.split(normalized).flatMap(({ start, stop, token }) => {
      if (token !== undefined) return [wordOf(token)];
      return this.#preTokenize(normalized.slice(start, stop), atStart && start === 0).map((word) => ({
        text: word,
        pieces: this.#divide(word),
        token: undefined,
      }));
    });
  }

  /** Word by word, because the library would join unknown pieces of neighbouring words into one. */
  #divide(word: string): readonly string[] {
    const pieces = this.#model.divide(word);
    if (!this.#spelling.unigram || !this.#spelling.byteFallback) return pieces;
    return pieces.flatMap((piece) => (this.idOf(piece) === undefined ? bytePieces(piece) : [piece]));
  }

  #idsOf(word: Word): number[] {
    if (word.token !== undefined) return [word.token.id];
    return word.pieces.map((piece) => this.#idOfPiece(piece)).filter((id) => id !== undefined);
  }

  #idOfPiece(piece: string): number | undefined {
    return this.idOf(piece) ?? this.#unknownId;
  }

  #alignedSections(text: string): AlignedSection[] {
    return [...this.#sections(text)].map(({ start, stop, token, words }) => ({
      start,
      stop,
      wholeId: token?.id,
      units: words.map((word) => unitOf(word, this.#spelling, (piece) => this.#idOfPiece(piece))),
    }));
  }
}

function modelOf(model: TokenizerJson['model']): Model {
  if (Array.isArray(model['merges']) && model.continuing_subword_prefix) {
    throw new Error('model.continuing_subword_prefix is not supported for BPE');
  }
  return openModel(model);
}

function piecesById(ids: ReadonlyMap<string, number>, maxVocabSize: number): (string | undefined)[] {
  const pieces: (string | undefined)[] = [];
  for (const [piece, id] of ids) {
    if (!Number.isInteger(id) || id < 0) throw new Error(`the id of a token is ${id}`);
    if (id >= maxVocabSize) throw new Error(`it has token id ${id}, and the vocabulary has ${maxVocabSize} tokens`);
    pieces[id] = piece;
  }
  if (pieces.length === 0) throw new Error('the vocabulary is empty');
  return pieces;
}

function bytePieces(text: string): string[] {
  return Array.from(Buffer.from(text, 'utf8'), (byte) => BYTE_PIECES[byte] ?? '');
}

/** Lone surrogates are no characters: no vocabulary knows them and UTF-8 cannot hold them. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

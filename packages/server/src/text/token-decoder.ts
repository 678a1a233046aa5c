/**
 * From ids to text: the half of a tokenizer that runs on the event loop, once per generated token. Knows no way from text
 * to ids. Its table is plain data, so that it can be made in another process.
 */
import type { AddedToken } from './added-tokens.ts';
import { cleanUpSpaces, type DecodePieces, decoderOf } from './decoder.ts';
import type { DecodeOptions } from './tokenizer.ts';

export interface DecodeTable {
  /** All pieces, one behind the other, in the order of their ids. */
  readonly pieces: string;
  /** Where each id's piece ends; empty for ids that stand for nothing. */
  readonly ends: Uint32Array;
  readonly specialIds: readonly number[];
  /** The `decoder` section of tokenizer.json, as JSON: nested too deeply, an object would break the channel. */
  readonly decoder: string;
  readonly cleansUp: boolean;
}

export function decodeTable(
  pieces: readonly (string | undefined)[],
  added: Iterable<AddedToken>,
  rest: Pick<DecodeTable, 'decoder' | 'cleansUp'>,
): DecodeTable {
  const ends = new Uint32Array(pieces.length);
  let end = 0;
  for (let id = 0; id < ends.length; id++) ends[id] = end += pieces[id]?.length ?? 0;
  const specialIds = [...added].filter(({ special }) => special).map(({ id }) => id);
  return { ...rest, pieces: Array.from(pieces, (piece) => piece ?? '').join(''), ends, specialIds };
}

export class TokenDecoder {
  /** One more than the largest id. */
  readonly vocabSize: number;
  readonly #table: DecodeTable;
  readonly #specialIds: ReadonlySet<number>;
  readonly #decodePieces: DecodePieces;

  /** Throws on a decoder section of an unknown type or a wrong form. */
  constructor(table: DecodeTable) {
    this.vocabSize = table.ends.length;
    this.#table = table;
    this.#specialIds = new Set(table.specialIds);
    this.#decodePieces = decoderOf(JSON.parse(table.decoder));
  }

  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  /** Empty for ids that stand for nothing. */
  pieceOf(id: number): string {
    const { pieces, ends } = this.#table;
    const end = ends[id];
    return end === undefined ? '' : pieces.slice(ends[id - 1] ?? 0, end);
  }

  /** Ids outside the vocabulary (padding rows of the model's matrix) have no text. */
  decode(ids: readonly number[], options: DecodeOptions): string {
    const pieces: string[] = [];
    for (const id of ids) {
      const piece = this.pieceOf(id);
      if (piece !== '' && !(options.skipSpecialTokens && this.isSpecial(id))) pieces.push(piece);
    }
    if (pieces.length === 0) return '';
    const text = this.#decodePieces(pieces);
    return this.#table.cleansUp ? cleanUpSpaces(text) : text;
  }
}

/** A word as the tokenizer's model saw it, and which of its bytes each piece stands for. Knows nothing about texts. */
import type { AddedToken } from './added-tokens.ts';
import { fromByteChars } from './byte-alphabet.ts';
import { byteOfPiece } from './decoder.ts';
import type { AlignedUnit } from './spans.ts';

export interface Word {
  readonly text: string;
  readonly pieces: readonly string[];
  /** The added token that the word is, if it is one. */
  readonly token: AddedToken | undefined;
}

/** How a model's vocabulary spells its pieces. */
export interface PieceSpelling {
  /** Words and pieces are written in the byte alphabet. */
  readonly byteLevel: boolean;
  readonly byteFallback: boolean;
  /** Unknown pieces come as themselves instead of as the unknown token. */
  readonly unigram: boolean;
  /** Put before pieces that continue a word (`##`), and after pieces that end one (`</w>`). */
  readonly prefix: string;
  readonly suffix: string;
  readonly unknownId: number | undefined;
}

export function wordOf(token: AddedToken): Word {
  return { text: token.content, pieces: [token.content], token };
}

/** The word in plain characters, for alignment with the text that it came from. */
export function unitOf(word: Word, spelling: PieceSpelling, idOf: (piece: string) => number | undefined): AlignedUnit {
  if (word.token !== undefined) return { text: word.text, tokens: [{ id: word.token.id, bytes: undefined }] };
  const text = spelling.byteLevel ? Buffer.from(fromByteChars(word.text) ?? []).toString('utf8') : word.text;
  const tokens = word.pieces.flatMap((piece, index) => {
    const id = idOf(piece);
    return id === undefined ? [] : [{ id, bytes: bytesOf(piece, id, index > 0, spelling) }];
  });
  return { text, tokens };
}

/** The UTF-8 bytes of a word that a piece stands for; `undefined` for the unknown token, which hides them. */
function bytesOf(piece: string, id: number, continues: boolean, spelling: PieceSpelling): Uint8Array | undefined {
  if (spelling.byteLevel) return Uint8Array.from(fromByteChars(piece) ?? []);
  if (id === spelling.unknownId && !spelling.unigram) return undefined;
  const byte = spelling.byteFallback ? byteOfPiece(piece) : undefined;
  if (byte !== undefined) return Uint8Array.of(byte);
  const { prefix, suffix } = spelling;
  const from = continues && piece.startsWith(prefix) ? prefix.length : 0;
  const to = piece.endsWith(suffix) ? piece.length - suffix.length : piece.length;
  return Buffer.from(piece.slice(from, to), 'utf8');
}

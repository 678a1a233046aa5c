/** The shape of a stage that changes scores before warping: watermark, penalties, a grammar's mask. */

import type { TokenHistory } from './token-history.ts';

export interface LogitsProcessor {
  /**
   * Changes `logits` [vocabSize] in place for the position that follows `history`. Keeps nothing between calls about the
   * sequence, so that positions can be chosen, taken back and chosen again. `-Infinity` removes a token.
   */
  apply(logits: Float32Array, history: TokenHistory): void;
}

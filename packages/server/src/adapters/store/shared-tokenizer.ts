/** An adapter's own tokenizer, shared by the tiers that hold the adapter. It ends when the last of them lets go. */

import { assert } from '../../base/assert.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';

export class SharedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly #onClosing: (closing: Promise<void>) => void;
  #holderCount = 1;

  /** Held once, by whoever opened it. */
  constructor(tokenizer: Tokenizer, onClosing: (closing: Promise<void>) => void) {
    this.tokenizer = tokenizer;
    this.#onClosing = onClosing;
  }

  hold(): void {
    assert(this.#holderCount > 0, 'a closed tokenizer is not held again');
    this.#holderCount++;
  }

  release(): void {
    assert(this.#holderCount > 0, 'a tokenizer is released as often as it was held');
    if (--this.#holderCount === 0) this.#onClosing(this.tokenizer.dispose());
  }
}

/**
 * One OpenAI choice as its tokens arrive: the text without the stop string, and which tokens belong to it. Holds back what
 * may still turn out to begin a stop string. Knows no wire format.
 */

import type { GeneratedToken, GenerationResult } from '../scheduler/request.ts';
import { StopStringMatcher } from '../text/stop-strings.ts';

export interface Piece {
  readonly text: string;
  /** The tokens whose text begins in this piece or at its end. */
  readonly tokens: readonly GeneratedToken[];
  /** With the last piece. */
  readonly finishReason?: StopReason;
}

export type StopReason = 'stop' | 'length';

export class ChoiceText {
  readonly #matcher: StopStringMatcher;
  /** Tokens whose text has not begun to be shown. */
  readonly #waiting: GeneratedToken[] = [];
  /** Where the first of them begins, in UTF-16 units. */
  #waitingFrom = 0;
  #arrivedLen = 0;
  #shownLen = 0;
  #stopped = false;

  constructor(stop: readonly string[]) {
    this.#matcher = new StopStringMatcher(stop);
  }

  /** What may be shown now. Special tokens are no text, so OpenAI's choices leave them out. */
  push(token: GeneratedToken): Piece {
    if (token.special || this.#stopped) return { text: '', tokens: [] };
    this.#waiting.push(token);
    this.#arrivedLen += token.text.length;
    const progress = this.#matcher.push(token.text);
    this.#stopped = progress.stop !== undefined;
    return this.#show(progress.exclusive);
  }

  /** The rest. `result.text` may end with characters that no token brought: the remains of an unfinished one. */
  end(result: GenerationResult): Piece {
    const rest = this.#stopped ? '' : this.#matcher.flush() + result.text.slice(this.#arrivedLen);
    const finishReason = !this.#stopped && result.finishReason === 'length' ? 'length' : 'stop';
    return { ...this.#show(rest), finishReason };
  }

  #show(text: string): Piece {
    this.#shownLen += text.length;
    const tokens: GeneratedToken[] = [];
    for (const token of this.#waiting) {
      const begun = token.text === '' ? this.#waitingFrom <= this.#shownLen : this.#waitingFrom < this.#shownLen;
      if (!begun) break;
      this.#waitingFrom += token.text.length;
      tokens.push(token);
    }
    this.#waiting.splice(0, tokens.length);
    return { text, tokens };
  }
}

/**
 * From a sequence's tokens to its text: streamed characters, stop strings, the text of the whole answer.
 * Knows nothing about steps or channels.
 */

import type { ChosenToken } from '../engine/sequence.ts';
import { StreamingDetokenizer } from '../text/detokenizer.ts';
import { StopStringMatcher } from '../text/stop-strings.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { GeneratedToken, TokenAlternative } from './request.ts';

export class TextStream {
  readonly #tokenizer: Pick<Tokenizer, 'decode' | 'isSpecial'>;
  readonly #detokenizer: StreamingDetokenizer;
  readonly #stops: StopStringMatcher;
  #text = '';

  constructor(
    tokenizer: Pick<Tokenizer, 'decode' | 'isSpecial'>,
    promptIds: readonly number[],
    stop: readonly string[],
  ) {
    this.#tokenizer = tokenizer;
    this.#detokenizer = new StreamingDetokenizer(tokenizer, promptIds);
    this.#stops = new StopStringMatcher(stop);
  }

  /** The generated text so far, up to and with the stop string that ended it. */
  get text(): string {
    return this.#text;
  }

  /** The token as callers see it, and whether a stop string ends with it. `isLast` lets held characters out. */
  push(
    chosen: ChosenToken,
    { isLast, skipped }: { readonly isLast: boolean; readonly skipped: boolean },
  ): { readonly token: GeneratedToken; readonly stopped: boolean } {
    const { id, logprob } = chosen;
    const special = this.#tokenizer.isSpecial(id);
    const alternatives = this.#describe(chosen);
    const { text, printable } = this.#detokenizer.push(id);
    const held = isLast ? this.#detokenizer.flush() : '';
    const { inclusive, stop } = this.#stops.push(printable + held);
    this.#text += inclusive;
    const shown = special ? text : inclusive;
    const token = { id, text: shown, logprob, special, skipped, ...(alternatives && { alternatives }) };
    return { token, stopped: stop !== undefined };
  }

  #describe({ alternatives }: ChosenToken): TokenAlternative[] | undefined {
    if (alternatives.length === 0) return undefined;
    return alternatives.map(({ id, logprob }) => ({ id, logprob, text: this.#detokenizer.peek(id) }));
  }
}

/**
 * Turns generated ids into text as they come, never half a character. Knows nothing about stop strings or streams.
 *
 * Decoding depends on neighbours (bytes of one character, markers for spaces), so each id is decoded together with a
 * few ids before it, and what was already given out is cut off. Only the last character can still change: it is held
 * back while it is U+FFFD, which may be the beginning of a character or may turn out to be meant.
 */
import type { Tokenizer } from './tokenizer.ts';

const REPLACEMENT = '\ufffd';
/** Ids kept as context: up to three bytes of an unfinished character, and one before them for first-word rules. */
const CONTEXT_LEN = 4;
/** Cutting the context down costs a decoding of its own, so it is done only every few ids. */
const MAX_WINDOW_LEN = 2 * CONTEXT_LEN;

export interface TokenText {
  /** The token's own text for `token.text`; a special token's text is its spelling. */
  readonly text: string;
  /** What the token adds to the generated text; nothing for special tokens. */
  readonly printable: string;
}

export class StreamingDetokenizer {
  readonly #tokenizer: Pick<Tokenizer, 'decode' | 'isSpecial'>;
  /** The last ids without special ones, and their text. */
  #window: number[];
  #text: string;
  /** How much of the window's text was given out or belongs to the prompt. */
  #givenLen: number;

  /** The end of the prompt is the context of the first id; its text is never given out. */
  constructor(tokenizer: Pick<Tokenizer, 'decode' | 'isSpecial'>, promptIds: readonly number[]) {
    this.#tokenizer = tokenizer;
    this.#window = this.#contextOf(promptIds);
    this.#text = this.#decode(this.#window);
    this.#givenLen = this.#text.length;
  }

  push(id: number): TokenText {
    if (this.#tokenizer.isSpecial(id)) {
      return { text: this.#tokenizer.decode([id], { skipSpecialTokens: false }), printable: '' };
    }
    const text = this.#decode([...this.#window, id]);
    if (text === this.#text && this.#isTextless(id)) return { text: '', printable: '' };
    this.#window.push(id);
    this.#text = text;
    const printable = this.#take(text.endsWith(REPLACEMENT) ? text.length - 1 : text.length);
    if (this.#window.length > MAX_WINDOW_LEN) this.#shorten();
    return { text: printable, printable };
  }

  /** The text that `id` would have here, without taking it: for alternatives to the token that was chosen. */
  peek(id: number): string {
    if (this.#tokenizer.isSpecial(id)) return this.#tokenizer.decode([id], { skipSpecialTokens: false });
    return this.#decode([...this.#window, id]).slice(this.#givenLen);
  }

  /** What was held back, once no more ids will come. */
  flush(): string {
    return this.#take(this.#text.length);
  }

  #take(upTo: number): string {
    const taken = this.#text.slice(this.#givenLen, upTo);
    this.#givenLen = Math.max(this.#givenLen, upTo);
    return taken;
  }

  #shorten(): void {
    const heldLen = this.#text.length - this.#givenLen;
    this.#window = this.#window.slice(-CONTEXT_LEN);
    this.#text = this.#decode(this.#window);
    this.#givenLen = this.#text.length - heldLen;
  }

  /** An unfinished character at the prompt's end is no context: its last byte would make prompt text out of the answer. */
  #contextOf(promptIds: readonly number[]): number[] {
    const ids: number[] = [];
    for (let index = promptIds.length - 1; index >= 0 && ids.length < CONTEXT_LEN; index--) {
      const id = promptIds[index];
      if (id !== undefined && !this.#tokenizer.isSpecial(id)) ids.unshift(id);
    }
    while (this.#decode(ids).endsWith(REPLACEMENT)) ids.pop();
    return ids;
  }

  /** Ids outside the vocabulary add nothing, and would push the context out of the window. */
  #isTextless(id: number): boolean {
    return this.#decode([id, id]) === '';
  }

  #decode(ids: readonly number[]): string {
    return this.#tokenizer.decode(ids, { skipSpecialTokens: true });
  }
}

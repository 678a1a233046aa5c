/**
 * The tokens of one sequence, and how often each occurs. Grows and shrinks one token at a time, so that a draft can be
 * pushed, judged and taken back; the counts are always those of the tokens in it. Knows nothing about scores.
 */

import { assert } from '../../base/assert.ts';

type Counts = Map<number, number>;

export class TokenHistory {
  readonly promptLen: number;
  readonly #tokens: number[];
  // Built on first use: most requests have no penalty and never ask.
  #counts: Counts | undefined;
  #generatedCounts: Counts | undefined;

  constructor(prompt: readonly number[]) {
    this.#tokens = [...prompt];
    this.promptLen = prompt.length;
  }

  /** Prompt and generated tokens, a live view. */
  get tokens(): readonly number[] {
    return this.#tokens;
  }

  /** Also the absolute position of the token to be chosen next. */
  get length(): number {
    return this.#tokens.length;
  }

  get last(): number | undefined {
    return this.#tokens.at(-1);
  }

  /** Occurrences by token id, prompt and generated together; a live view without zero entries. */
  get counts(): ReadonlyMap<number, number> {
    return (this.#counts ??= tally(this.#tokens));
  }

  /** Occurrences by token id among generated tokens; a live view without zero entries. */
  get generatedCounts(): ReadonlyMap<number, number> {
    return (this.#generatedCounts ??= tally(this.#tokens.slice(this.promptLen)));
  }

  push(id: number): void {
    this.#tokens.push(id);
    add(this.#counts, id, 1);
    add(this.#generatedCounts, id, 1);
  }

  /** Takes back generated tokens until `length` are left; the prompt cannot be taken back. */
  truncate(length: number): void {
    assert(length >= this.promptLen && length <= this.length, 'a history is truncated inside its generated part');
    for (const id of this.#tokens.splice(length)) {
      add(this.#counts, id, -1);
      add(this.#generatedCounts, id, -1);
    }
  }
}

function tally(tokens: readonly number[]): Counts {
  const counts: Counts = new Map();
  for (const id of tokens) add(counts, id, 1);
  return counts;
}

function add(counts: Counts | undefined, id: number, change: 1 | -1): void {
  if (counts === undefined) return;
  const count = (counts.get(id) ?? 0) + change;
  if (count === 0) counts.delete(id);
  else counts.set(id, count);
}

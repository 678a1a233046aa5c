/**
 * Guesses by looking back: where the last tokens stood before, the tokens that followed them may follow again
 * (prompt lookup). Guesses nothing where nothing matches. Knows nothing about models.
 */

import type { Guesses } from './guesses.ts';

/** Longer matches are no better signs than these. */
const LONGEST_MATCH = 12;
/** One token in common says next to nothing. */
const SHORTEST_MATCH = 2;
/** Tokens in common at which what followed is as likely right as wrong, until more is known. */
const EVEN_MATCH = 3;
/** Tokens looked back at: a bound on the work per step, far beyond most prompts. */
const MOST_LOOKED_AT = 8192;

interface Match {
  /** Index of the token that followed it. */
  readonly end: number;
  readonly length: number;
}

/** Over a list that only grows. Remembers where each pair of tokens stood, so that a step does not read the list again. */
export class NgramGuesser {
  readonly #tokens: readonly number[];
  /** By pair, the end of its most recent occurrence: the index of the token that followed. */
  readonly #latest = new Map<number, number>();
  /** For each end from the first one on, that of the same pair's occurrence before. */
  readonly #earlier: (number | undefined)[] = [];
  readonly #firstEnd: number;

  constructor(tokens: readonly number[]) {
    this.#tokens = tokens;
    this.#firstEnd = Math.max(SHORTEST_MATCH, tokens.length - MOST_LOOKED_AT);
  }

  /**
   * The `count` tokens that followed the longest, and among those the most recent, match of the last tokens. Where the
   * match is so recent that fewer did, the text repeats itself, and the guesses go on repeating it. The longer the match,
   * the surer they are; each that is right would have made it longer.
   */
  guess(count: number): Guesses {
    this.#remember();
    const match = this.#longestMatch();
    if (match === undefined) return [];
    const tokens = this.#tokens;
    const guesses: number[] = [];
    for (let at = match.end; guesses.length < count; at++) guesses.push(tokens[at] ?? guesses[at - tokens.length]!);
    return guesses.map((token, place) => [{ token, confidence: confidenceOf(match.length + place) }]);
  }

  #remember(): void {
    for (let end = this.#firstEnd + this.#earlier.length; end < this.#tokens.length; end++) {
      const pair = this.#pairBefore(end);
      this.#earlier.push(this.#latest.get(pair));
      this.#latest.set(pair, end);
    }
  }

  #longestMatch(): Match | undefined {
    const { length: count } = this.#tokens;
    const oldest = count - MOST_LOOKED_AT;
    let best: Match | undefined;
    let end = count < SHORTEST_MATCH ? undefined : this.#latest.get(this.#pairBefore(count));
    for (; end !== undefined && end >= oldest; end = this.#earlier[end - this.#firstEnd]) {
      const length = this.#commonLen(end);
      if (length > (best?.length ?? 0)) best = { end, length };
      if (length === LONGEST_MATCH) break;
    }
    return best;
  }

  /** How many tokens before `end` are those at the end of the list. */
  #commonLen(end: number): number {
    const tokens = this.#tokens;
    let length = SHORTEST_MATCH;
    while (length < Math.min(LONGEST_MATCH, end) && tokens[end - 1 - length] === tokens[tokens.length - 1 - length]) {
      length++;
    }
    return length;
  }

  /** One number for the two tokens before an index: ids are far below 2 ** 26. */
  #pairBefore(index: number): number {
    return this.#tokens[index - 2]! * 2 ** 26 + this.#tokens[index - 1]!;
  }
}

/** In steps that tell one length from the next where acceptance is learnt. */
function confidenceOf(matchLength: number): number {
  return 1 / (1 + Math.exp((EVEN_MATCH - matchLength) / 2));
}

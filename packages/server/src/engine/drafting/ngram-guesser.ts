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

/**
 * The `count` tokens that followed the longest, and among those the most recent, match of the last tokens. Where the match
 * is so recent that fewer did, the text repeats itself, and the guesses go on repeating it. The longer the match, the surer
 * they are; each that is right would have made it longer.
 */
export function guessByNgram(tokens: readonly number[], count: number): Guesses {
  const match = longestMatch(tokens);
  if (match === undefined) return [];
  const guesses: number[] = [];
  for (let at = match.end; guesses.length < count; at++) guesses.push(tokens[at] ?? guesses[at - tokens.length]!);
  return guesses.map((token, place) => [{ token, confidence: confidenceOf(match.length + place) }]);
}

interface Match {
  /** Index of the token that followed it. */
  readonly end: number;
  readonly length: number;
}

function longestMatch(tokens: readonly number[]): Match | undefined {
  const oldest = Math.max(1, tokens.length - MOST_LOOKED_AT);
  let best: Match | undefined;
  for (let end = tokens.length - 1; end >= oldest; end--) {
    const length = commonLen(tokens, end);
    if (length < SHORTEST_MATCH || length <= (best?.length ?? 0)) continue;
    best = { end, length };
    if (length === LONGEST_MATCH) break;
  }
  return best;
}

/** How many tokens before `end` are those at the end of the list. */
function commonLen(tokens: readonly number[], end: number): number {
  let length = 0;
  while (length < Math.min(LONGEST_MATCH, end) && tokens[end - 1 - length] === tokens[tokens.length - 1 - length]) {
    length++;
  }
  return length;
}

/** In steps that tell one length from the next where acceptance is learnt. */
function confidenceOf(matchLength: number): number {
  return 1 / (1 + Math.exp((EVEN_MATCH - matchLength) / 2));
}

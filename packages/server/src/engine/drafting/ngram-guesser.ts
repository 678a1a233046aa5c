/**
 * Guesses by looking back: where the last tokens stood before, the tokens that followed them may follow again
 * (prompt lookup). Guesses nothing where nothing matches. Knows nothing about models.
 */

import type { Guesses } from './guesses.ts';

/** Longer matches are no better signs than these. */
const LONGEST_MATCH = 6;
/** One token in common says next to nothing. */
const SHORTEST_MATCH = 2;
/** Tokens looked back at: a bound on the work per step, far beyond most prompts. */
const MOST_LOOKED_AT = 8192;

/**
 * The `count` tokens that followed the longest, and among those the most recent, match of the last tokens. Where the match
 * is so recent that fewer did, the text repeats itself, and the guesses go on repeating it.
 */
export function guessByNgram(tokens: readonly number[], count: number): Guesses {
  const match = longestMatch(tokens);
  if (match === undefined) return [];
  const guesses: number[] = [];
  for (let at = match; guesses.length < count; at++) guesses.push(tokens[at] ?? guesses[at - tokens.length]!);
  return guesses.map((token) => [{ token, confidence: undefined }]);
}

/** Index of the token that followed the match. */
function longestMatch(tokens: readonly number[]): number | undefined {
  const oldest = Math.max(1, tokens.length - MOST_LOOKED_AT);
  let best: { readonly end: number; readonly length: number } | undefined;
  for (let end = tokens.length - 1; end >= oldest; end--) {
    const length = commonLen(tokens, end);
    if (length < SHORTEST_MATCH || length <= (best?.length ?? 0)) continue;
    best = { end, length };
    if (length === LONGEST_MATCH) break;
  }
  return best?.end;
}

/** How many tokens before `end` are those at the end of the list. */
function commonLen(tokens: readonly number[], end: number): number {
  let length = 0;
  while (length < Math.min(LONGEST_MATCH, end) && tokens[end - 1 - length] === tokens[tokens.length - 1 - length]) {
    length++;
  }
  return length;
}

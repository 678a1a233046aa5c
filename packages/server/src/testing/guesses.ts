/** Guesses by their tokens alone, for tests. */

import type { Guesses } from '../engine/drafting/guesses.ts';

/** `tokens[place][rank]`, all guessed with one confidence or with none. */
export function guessesOf(tokens: readonly (readonly number[])[], confidence?: number): Guesses {
  return tokens.map((ranked) => ranked.map((token) => ({ token, confidence })));
}

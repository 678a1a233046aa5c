/** What may follow a sequence's last token, place by place. */

export interface Guess {
  readonly token: number;
  /** Its probability as the one that guessed it sees it; undefined where it has no opinion. */
  readonly confidence: number | undefined;
}

/** `guesses[place][rank]`: for the places after the last token, at each the likeliest first. */
export type Guesses = readonly (readonly Guess[])[];

/** Who guesses: draft heads, or looking back in the sequence's own tokens. What each is worth is learnt apart. */
export const GUESS_SOURCES = ['heads', 'lookback'] as const;
export type GuessSource = (typeof GUESS_SOURCES)[number];

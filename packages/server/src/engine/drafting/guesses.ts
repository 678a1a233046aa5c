/** What may follow a sequence's last token, place by place. */

/** `guesses[place][rank]`: token ids for the places after the last token, at each the likeliest first. */
export type Guesses = readonly (readonly number[])[];

/**
 * How often guesses were right, learnt as steps go by: for every place ahead and every rank the share of right guesses
 * among those whose predecessors were right. Knows nothing about costs.
 */

import type { Guesses } from './guesses.ts';

/** Weight of the newest observation. A greater one would make plans follow chance: 64 sequences give 64 of them a step. */
const RATE = 0.005;

/** Before anything is known: hopeful, so that it is tried. */
const FIRST_RATES = [0.6, 0.1, 0.05, 0.03];
/** How many observations these count for. */
const FIRST_WEIGHT = 4;

interface PlaceRates {
  observedCount: number;
  /** By rank. */
  readonly rates: number[];
}

export class Acceptance {
  readonly #places: PlaceRates[] = [];

  /** Share of right guesses of this rank at this place, where all places before were right. */
  rate(place: number, rank: number): number {
    return this.#places[place]?.rates[rank] ?? FIRST_RATES[rank] ?? 0;
  }

  /** Takes in what really followed: `truth[place]` as far as it is known. */
  learn(guesses: Guesses, truth: readonly number[]): void {
    for (let place = 0; place < Math.min(guesses.length, truth.length); place++) {
      const ranked = guesses[place]!;
      const right = ranked.indexOf(truth[place]!);
      const known = (this.#places[place] ??= { observedCount: 0, rates: [] });
      const weight = Math.max(RATE, 1 / (FIRST_WEIGHT + ++known.observedCount));
      for (let rank = 0; rank < ranked.length; rank++) {
        known.rates[rank] = this.rate(place, rank) + weight * (Number(rank === right) - this.rate(place, rank));
      }
    }
  }
}

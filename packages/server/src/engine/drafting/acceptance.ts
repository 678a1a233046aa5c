/**
 * How often guesses were right, learnt as steps go by: at every place ahead, the share of right guesses among those whose
 * predecessors were right, by their rank and by how sure whoever guessed them was. Knows nothing about costs.
 */

import type { Guess, Guesses } from './guesses.ts';

/** Weight of the newest observation. A greater one would make plans follow chance: 64 sequences give 64 of them a step. */
const RATE = 0.005;

/** Before anything is known: hopeful, so that it is tried. */
const FIRST_RATES = [0.6, 0.1, 0.05, 0.03];
/** How many observations what is assumed first counts for. */
const FIRST_WEIGHT = 4;

/** Steps of confidence, in log-odds: what is right nine times of ten is no neighbour of what is always right. */
const CLASS_WIDTH = 0.5;
/** Confidence beyond is as good as certain. */
const MOST_CLASS = 10;

/** How many right guesses the first trust in confidence counts for. */
const FIRST_TRUST = 2;

interface Learnt {
  rate: number;
  observedCount: number;
}

export class Acceptance {
  /** `[place][rank]`. */
  readonly #byRank: Learnt[][] = [];
  /** `[place]`, by class of confidence. */
  readonly #byConfidence: Map<number, Learnt>[] = [];
  /** Right guesses, and how many should have been by their confidence. */
  #rightCount = FIRST_TRUST;
  #promisedCount = FIRST_TRUST;

  /** Share of right guesses of this rank at this place, where all places before were right. */
  rate(place: number, rank: number): number {
    return this.#byRank[place]?.[rank]?.rate ?? FIRST_RATES[rank] ?? 0;
  }

  /** The same for a guess that is known, by how sure it is; by its rank where it does not say. */
  chance(place: number, rank: number, { confidence }: Guess): number {
    if (confidence === undefined) return this.rate(place, rank);
    const known = this.#byConfidence[place]?.get(classOf(confidence));
    return known?.rate ?? this.#believe(classOf(confidence));
  }

  /**
   * Takes in what really followed: `truth[place]` as far as it is known. It may be known beyond the first place that was
   * guessed wrong, from the draft of somebody else: what was guessed behind that place was not worth a row.
   */
  learn(guesses: Guesses, truth: readonly number[]): void {
    for (let place = 0; place < Math.min(guesses.length, truth.length); place++) {
      if (place > 0 && !guesses[place - 1]!.some(({ token }) => token === truth[place - 1])) return;
      for (const [rank, { token, confidence }] of guesses[place]!.entries()) {
        const isRight = token === truth[place];
        observe(this.#ofRank(place, rank), isRight);
        if (confidence !== undefined) this.#learnConfidence(place, confidence, isRight);
      }
    }
  }

  #learnConfidence(place: number, confidence: number, isRight: boolean): void {
    observe(this.#ofConfidence(place, confidence), isRight);
    // Heads whose logits are not finite have no probability.
    if (Number.isNaN(confidence)) return;
    this.#rightCount += Number(isRight);
    this.#promisedCount += confidence;
  }

  /** What a confidence is worth that was not seen yet: less than it says where those that were seen promised too much. */
  #believe(index: number): number {
    return confidenceOf(index) * Math.min(1, this.#rightCount / this.#promisedCount);
  }

  #ofRank(place: number, rank: number): Learnt {
    const ofPlace = (this.#byRank[place] ??= []);
    return (ofPlace[rank] ??= { rate: FIRST_RATES[rank] ?? 0, observedCount: 0 });
  }

  #ofConfidence(place: number, confidence: number): Learnt {
    const ofPlace = (this.#byConfidence[place] ??= new Map());
    const index = classOf(confidence);
    const known = ofPlace.get(index) ?? { rate: this.#believe(index), observedCount: 0 };
    ofPlace.set(index, known);
    return known;
  }
}

function observe(learnt: Learnt, isRight: boolean): void {
  const weight = Math.max(RATE, 1 / (FIRST_WEIGHT + ++learnt.observedCount));
  learnt.rate += weight * (Number(isRight) - learnt.rate);
}

function classOf(confidence: number): number {
  const odds = Math.round(Math.log(confidence / (1 - confidence)) / CLASS_WIDTH);
  return Math.max(-MOST_CLASS, Math.min(MOST_CLASS, odds));
}

function confidenceOf(index: number): number {
  return 1 / (1 + Math.exp(-index * CLASS_WIDTH));
}

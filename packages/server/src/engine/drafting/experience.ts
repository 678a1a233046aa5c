/**
 * What is known of the sequences with one key: how often the guesses of either source are right, and when heads that do not
 * pay are tried again. Knows nothing about costs.
 */

import { Acceptance } from './acceptance.ts';
import { GUESS_SOURCES, type GuessSource } from './guesses.ts';
import type { SequenceDrafter } from './sequence-drafter.ts';

/** Steps after which heads that do not pay are asked once more: twice as many each time, half where they surprise. */
const SHORTEST_PAUSE = 16;
const LONGEST_PAUSE = 512;

export class Experience {
  readonly acceptance: Readonly<Record<GuessSource, Acceptance>>;
  /** Steps between two trials, and the step of the next one. */
  #pause = SHORTEST_PAUSE;
  #nextTrial: number;
  /** Whose guesses the last trial gave. */
  #tried: SequenceDrafter | undefined;

  constructor(step: number) {
    this.acceptance = { heads: new Acceptance(), lookback: new Acceptance() };
    this.#nextTrial = step + SHORTEST_PAUSE;
  }

  /** Whether heads should guess: where that is planned, and as a trial for one sequence at a time. */
  asksHeads(drafter: SequenceDrafter, isPlanned: boolean, step: number): boolean {
    if (isPlanned) this.#pause = SHORTEST_PAUSE;
    else if (step < this.#nextTrial) return false;
    else this.#tried = drafter;
    this.#nextTrial = step + this.#pause;
    return true;
  }

  /** Takes in what really followed the sequence's last token. */
  learn(drafter: SequenceDrafter, truth: readonly number[]): void {
    if (drafter === this.#tried) this.#judgeTrial(drafter, truth);
    for (const source of GUESS_SOURCES) this.acceptance[source].learn(drafter.guesses[source], truth);
  }

  /** Heads that were thought wrong and are right deserve another trial soon; otherwise a trial told nothing new. */
  #judgeTrial({ guesses }: SequenceDrafter, truth: readonly number[]): void {
    const isSurprise = guesses.heads[0]?.[0]?.token === truth[0] && this.acceptance.heads.rate(0, 0) < 0.5;
    this.#pause = isSurprise ? Math.max(SHORTEST_PAUSE, this.#pause / 2) : Math.min(LONGEST_PAUSE, this.#pause * 2);
    this.#tried = undefined;
  }
}

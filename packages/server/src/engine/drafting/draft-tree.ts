/**
 * Grows the draft of one sequence from its guesses, the most promising token next. With one guess a place the tree is a
 * chain. Knows nothing about costs and batches.
 */

import type { Acceptance } from './acceptance.ts';
import { Draft, ROOT } from './draft.ts';
import type { Guesses } from './guesses.ts';

interface Candidate {
  readonly place: number;
  readonly rank: number;
  /** Node that it follows. */
  readonly parent: number;
  /** Probability that it and all that it follows are right. */
  readonly score: number;
}

export class DraftTree {
  readonly #guesses: Guesses;
  readonly #acceptance: Acceptance;
  /** What may be added next: the first untried guess below every node. */
  #candidates: Candidate[] = [];
  readonly #tokens: number[] = [];
  readonly #parents: number[] = [];

  constructor(guesses: Guesses, acceptance: Acceptance) {
    this.#guesses = guesses;
    this.#acceptance = acceptance;
    this.#consider(0, 0, ROOT, 1);
  }

  /** Probability that the next token is accepted, all that it follows included; 0 where nothing is left. */
  get nextScore(): number {
    return this.#candidates[0]?.score ?? 0;
  }

  grow(): void {
    const next = this.#candidates.shift();
    if (next === undefined) return;
    const { place, rank, parent, score } = next;
    const node = this.#tokens.push(this.#guesses[place]![rank]!) - 1;
    this.#parents.push(parent);
    const above = score / this.#acceptance.rate(place, rank);
    this.#consider(place, rank + 1, parent, above);
    this.#consider(place + 1, 0, node, score);
  }

  /** Its first `count` tokens: those that were the most promising. */
  draft(count: number): Draft {
    return new Draft(this.#tokens.slice(0, count), this.#parents.slice(0, count));
  }

  #consider(place: number, rank: number, parent: number, above: number): void {
    if (this.#guesses[place]?.[rank] === undefined) return;
    const score = above * this.#acceptance.rate(place, rank);
    if (score <= 0) return;
    const candidate = { place, rank, parent, score };
    const at = this.#candidates.findIndex((other) => other.score < score);
    this.#candidates = this.#candidates.toSpliced(at < 0 ? this.#candidates.length : at, 0, candidate);
  }
}

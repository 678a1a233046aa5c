/**
 * Grows the draft of one sequence from its guesses, the most promising token next. With one guess a place the tree is a
 * chain. Knows nothing about costs and batches.
 */

import type { Acceptance } from './acceptance.ts';
import { Draft, ROOT } from './draft.ts';
import type { Guesses } from './guesses.ts';

/** What is right less often pays its row nowhere; it also bounds how far a tree can grow. */
const LEAST_SCORE = 0.02;

interface Candidate {
  readonly place: number;
  /** How many guesses of its place are more promising. */
  readonly order: number;
  /** Node that it follows. */
  readonly parent: number;
  /** Probability that it and all that it follows are right. */
  readonly score: number;
}

export class DraftTree {
  readonly #guesses: Guesses;
  readonly #acceptance: Acceptance;
  /** What may be added next: the first untried guess below every node. */
  readonly #candidates: Candidate[] = [];
  readonly #tokens: number[] = [];
  #placeCount = 0;
  readonly #parents: number[] = [];
  /** `[place][order]`: ranks, the most promising first. What was learnt need not agree with the heads. */
  readonly #ranks: number[][] = [];

  constructor(guesses: Guesses, acceptance: Acceptance) {
    this.#guesses = guesses;
    this.#acceptance = acceptance;
    this.#consider(0, 0, ROOT, 1);
  }

  /** How many of its `count` most promising tokens are likely to be accepted. */
  static promise(guesses: Guesses, acceptance: Acceptance, count: number): number {
    const tree = new DraftTree(guesses, acceptance);
    let promise = 0;
    for (let i = 0; i < count; i++, tree.grow()) promise += tree.nextScore;
    return promise;
  }

  /** Probability that the next token is accepted, all that it follows included; 0 where nothing is left. */
  get nextScore(): number {
    return this.#candidates[0]?.score ?? 0;
  }

  /** How many places ahead it reaches. */
  get placeCount(): number {
    return this.#placeCount;
  }

  grow(): void {
    const next = this.#candidates.shift();
    if (next === undefined) return;
    const { place, order, parent, score } = next;
    const rank = this.#ranksAt(place)[order]!;
    const node = this.#tokens.push(this.#guesses[place]![rank]!.token) - 1;
    this.#parents.push(parent);
    this.#placeCount = Math.max(this.#placeCount, place + 1);
    const above = score / this.#chance(place, rank);
    this.#consider(place, order + 1, parent, above);
    this.#consider(place + 1, 0, node, score);
  }

  /** Its first `count` tokens: those that were the most promising. */
  draft(count: number): Draft {
    return new Draft(this.#tokens.slice(0, count), this.#parents.slice(0, count));
  }

  #consider(place: number, order: number, parent: number, above: number): void {
    const rank = this.#ranksAt(place)[order];
    if (rank === undefined) return;
    const score = above * this.#chance(place, rank);
    if (!(score >= LEAST_SCORE)) return;
    const candidate = { place, order, parent, score };
    const at = this.#candidates.findIndex((other) => other.score < score);
    this.#candidates.splice(at < 0 ? this.#candidates.length : at, 0, candidate);
  }

  #ranksAt(place: number): readonly number[] {
    const guessed = this.#guesses[place] ?? [];
    const byChance = (a: number, b: number): number => this.#chance(place, b) - this.#chance(place, a);
    return (this.#ranks[place] ??= guessed.map((_, rank) => rank).sort(byChance));
  }

  #chance(place: number, rank: number): number {
    return this.#acceptance.chance(place, rank, this.#guesses[place]![rank]!);
  }
}

/** What may be drafted for one sequence, from whichever of its guesses promise more. Knows nothing about costs. */

import type { Acceptance } from './acceptance.ts';
import { DraftTree } from './draft-tree.ts';
import type { Guesses, GuessSource } from './guesses.ts';

export interface DraftRoom {
  /** Grown while planning; its first tokens are the draft. */
  readonly tree: DraftTree;
  /** Most tokens that may be drafted for the sequence. */
  readonly most: number;
  /** Its guesses are there already: no head has to run for them. */
  readonly isFree: boolean;
}

/** At most what may come of a sequence's room, without making it. */
export interface DraftHope {
  /** Of the most promising first token. */
  readonly chance: number;
  readonly most: number;
}

/** Knows nothing of guesses that were not made. */
export function hopeOf(
  { heads, lookback }: Readonly<Record<GuessSource, Guesses>>,
  acceptance: Readonly<Record<GuessSource, Acceptance>>,
  most: number,
): DraftHope {
  return { chance: Math.max(firstChance(heads, acceptance.heads), firstChance(lookback, acceptance.lookback)), most };
}

function firstChance([guesses = []]: Guesses, acceptance: Acceptance): number {
  return guesses.reduce((most, guess, rank) => Math.max(most, acceptance.chance(0, rank, guess)), 0);
}

/** With the guesses of its heads, or with what looking back found, which costs no run of heads. */
export function roomOf(
  { heads, lookback }: Readonly<Record<GuessSource, Guesses>>,
  acceptance: Readonly<Record<GuessSource, Acceptance>>,
  most: number,
): DraftRoom {
  const count = lookback.length;
  const promisesMore = (): boolean =>
    DraftTree.promise(lookback, acceptance.lookback, count) >= DraftTree.promise(heads, acceptance.heads, count);
  const isFree = count > 0 && (heads.length === 0 || promisesMore());
  const tree = isFree ? new DraftTree(lookback, acceptance.lookback) : new DraftTree(heads, acceptance.heads);
  return { tree, most, isFree };
}

/** Guessed tokens that one step verifies: a tree below the sequence's last token. Knows nothing about who guessed. */

import { assert } from '../../base/assert.ts';

/** The sequence's last token, which every guess follows in the end. */
export const ROOT = -1;

export class Draft {
  /** In an order in which each follows its parent. */
  readonly tokens: readonly number[];
  /** What each token follows: an index in `tokens`, or ROOT. */
  readonly parents: readonly number[];

  constructor(tokens: readonly number[], parents: readonly number[]) {
    assert(parents.length === tokens.length, 'every drafted token has a parent');
    assert(
      parents.every((parent, i) => parent >= ROOT && parent < i),
      'a drafted token comes after its parent',
    );
    this.tokens = tokens;
    this.parents = parents;
  }

  /** Each token follows the one before. */
  static chain(tokens: readonly number[]): Draft {
    return new Draft(
      tokens,
      tokens.map((_, i) => i - 1),
    );
  }

  get length(): number {
    return this.tokens.length;
  }

  get isChain(): boolean {
    return this.parents.every((parent, i) => parent === i - 1);
  }

  /** How many tokens it has for each place, those right after the last token first. */
  countByPlace(): number[] {
    const places: number[] = [];
    const counts: number[] = [];
    for (const parent of this.parents) {
      const place = parent === ROOT ? 0 : places[parent]! + 1;
      places.push(place);
      counts[place] = (counts[place] ?? 0) + 1;
    }
    return counts;
  }

  /** The guess that `token` follows `parent`, or undefined where nobody guessed it. */
  childOf(parent: number, token: number): number | undefined {
    const index = this.tokens.findIndex((drafted, i) => this.parents[i] === parent && drafted === token);
    return index < 0 ? undefined : index;
  }
}

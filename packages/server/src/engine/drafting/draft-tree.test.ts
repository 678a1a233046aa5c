import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { guessesOf } from '../../testing/guesses.ts';
import { Acceptance } from './acceptance.ts';
import { DraftTree } from './draft-tree.ts';
import { ROOT } from './draft.ts';
import type { Guesses } from './guesses.ts';

const ranked = fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 4 });
const confidence = fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined });
/** All of a place with one confidence. */
const guesses: fc.Arbitrary<Guesses> = fc
  .array(fc.tuple(ranked, confidence), { maxLength: 5 })
  .map((places) => places.flatMap(([tokens, sure]) => guessesOf([tokens], sure)));

/** What has been learnt may be anything: also that a later guess of a place is the better one. */
const acceptance = fc
  .array(fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 5 }), { maxLength: 60 })
  .map((truths) => {
    const learnt = new Acceptance();
    for (const truth of truths) learnt.learn(guessesOf([[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10], [11]]), truth);
    return learnt;
  });

function grown(of: Guesses, by: Acceptance): { readonly tree: DraftTree; readonly scores: number[] } {
  const tree = new DraftTree(of, by);
  const scores: number[] = [];
  while (tree.nextScore > 0) {
    scores.push(tree.nextScore);
    tree.grow();
  }
  return { tree, scores };
}

describe('DraftTree', () => {
  it('grows by what is ever less promising, each token after the one that it follows', () => {
    fc.assert(
      fc.property(guesses, acceptance, (of, by) => {
        const { tree, scores } = grown(of, by);
        for (const [i, score] of scores.entries()) {
          assert.ok(score > 0 && score <= 1);
          if (i > 0) assert.ok(score <= scores[i - 1]! + 1e-12, scores.join());
        }
        const { tokens, parents } = tree.draft(scores.length);
        const places: number[] = [];
        const told = new Set<string>();
        for (const [i, parent] of parents.entries()) {
          assert.ok(parent >= ROOT && parent < i);
          const place = parent === ROOT ? 0 : places[parent]! + 1;
          places.push(place);
          assert.ok(
            of[place]!.some(({ token }) => token === tokens[i]),
            'a token was guessed for its place',
          );
          told.add(`${parent} ${tokens[i]}`);
        }
        assert.equal(told.size, tokens.length, 'no token follows another twice');
      }),
    );
  });

  it('scores each token by the chances of all that it follows', () => {
    fc.assert(
      fc.property(guesses, acceptance, (of, by) => {
        const { tree, scores } = grown(of, by);
        const { tokens, parents } = tree.draft(scores.length);
        const places: number[] = [];
        for (const [i, parent] of parents.entries()) {
          const place = parent === ROOT ? 0 : places[parent]! + 1;
          places.push(place);
          const above = parent === ROOT ? 1 : scores[parent]!;
          const rank = of[place]!.findIndex(({ token }) => token === tokens[i]);
          const expected = above * by.chance(place, rank, of[place]![rank]!);
          assert.ok(Math.abs(scores[i]! - expected) < 1e-9);
        }
      }),
    );
  });

  it('is a chain of the guesses where each place has one', () => {
    const { tree, scores } = grown(guessesOf([[5], [6], [7]]), new Acceptance());
    const draft = tree.draft(scores.length);
    assert.ok(draft.isChain);
    assert.deepEqual(draft.tokens, [5, 6, 7]);
    assert.deepEqual(draft.countByPlace(), [1, 1, 1]);
  });

  it('is no larger than what can pay, however many guesses there are', () => {
    const many = Array.from({ length: 64 }, (_, place) => Array.from({ length: 16 }, (__, rank) => place * 16 + rank));
    assert.ok(grown(guessesOf(many), new Acceptance()).scores.length < 500);
  });

  it('gives the beginning of what it grew', () => {
    const { tree, scores } = grown(guessesOf([[1, 2], [3]]), new Acceptance());
    const whole = tree.draft(scores.length);
    const part = tree.draft(2);
    assert.deepEqual([part.tokens, part.parents], [whole.tokens.slice(0, 2), whole.parents.slice(0, 2)]);
  });
});

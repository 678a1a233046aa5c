/** Drafting as one sequence wants it, and its guesses for its next step. Knows nothing about batches and costs. */

import type { MedusaModel } from '../../layers/medusa/medusa-model.ts';
import type { Sequence } from '../sequence.ts';
import type { Draft } from './draft.ts';
import type { Guesses, GuessSource } from './guesses.ts';
import { NgramGuesser } from './ngram-guesser.ts';

export interface DrafterOptions {
  readonly sequence: Sequence;
  /** Draft heads, or undefined where none guess. */
  readonly heads: MedusaModel | undefined;
  /** Most tokens that heads may guess one after the other. */
  readonly headPlaces: number;
  /** Tokens to guess from the sequence's own; 0 does not look back. */
  readonly lookbackPlaces: number;
  /** Sequences with one key are likely to accept alike: the same adapter, the same heads, sampled or not. */
  readonly key: string;
  /** Whom the drafts are counted for. */
  readonly adapter: string;
}

const NOTHING: Readonly<Record<GuessSource, Guesses>> = { heads: [], lookback: [] };

export class SequenceDrafter {
  readonly sequence: Sequence;
  readonly heads: MedusaModel | undefined;
  readonly key: string;
  readonly adapter: string;
  readonly #headPlaces: number;
  readonly #lookbackPlaces: number;
  readonly #ngrams: NgramGuesser;
  #guesses = NOTHING;
  #draft: Draft | undefined;

  constructor({ sequence, heads, headPlaces, lookbackPlaces, key, adapter }: DrafterOptions) {
    this.sequence = sequence;
    this.heads = heads;
    this.key = key;
    this.adapter = adapter;
    this.#headPlaces = headPlaces;
    this.#lookbackPlaces = lookbackPlaces;
    this.#ngrams = new NgramGuesser(sequence.tokens);
  }

  /** For the tokens after the last one, made after the last step; none of heads that were not asked. */
  get guesses(): Readonly<Record<GuessSource, Guesses>> {
    return this.#guesses;
  }

  /** What the step verifies that is being computed. */
  get draft(): Draft | undefined {
    return this.#draft;
  }

  /** Places that heads can guess at all. */
  get headPlaces(): number {
    return Math.min(this.#headPlaces, this.heads?.headCount ?? 0);
  }

  take(heads: Guesses): void {
    this.#guesses = { ...this.#guesses, heads: heads.slice(0, this.#headPlaces) };
  }

  lookBack(): void {
    if (this.#lookbackPlaces === 0) return;
    this.#guesses = { ...this.#guesses, lookback: this.#ngrams.guess(this.#lookbackPlaces) };
  }

  propose(draft: Draft): void {
    this.#draft = draft;
    this.sequence.propose(draft);
  }

  forget(): void {
    this.#guesses = NOTHING;
    this.#draft = undefined;
  }
}

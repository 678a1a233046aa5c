/** Drafting as one sequence wants it, and its guesses for its next step. Knows nothing about batches and costs. */

import type { MedusaModel } from '../../layers/medusa/medusa-model.ts';
import type { Sequence } from '../sequence.ts';
import type { Draft } from './draft.ts';
import type { Guesses } from './guesses.ts';
import { guessByNgram } from './ngram-guesser.ts';

export interface DrafterOptions {
  readonly sequence: Sequence;
  /** Draft heads, or undefined for guesses from the sequence's own tokens. */
  readonly heads: MedusaModel | undefined;
  /** Most tokens that a step may draft one after the other. */
  readonly mostPlaces: number;
  /** Sequences with one key are likely to accept alike: the same adapter, the same heads, sampled or not. */
  readonly key: string;
  /** Whom the drafts are counted for. */
  readonly adapter: string;
}

export class SequenceDrafter {
  readonly sequence: Sequence;
  readonly heads: MedusaModel | undefined;
  readonly key: string;
  readonly adapter: string;
  readonly #mostPlaces: number;
  #guesses: Guesses = [];
  #draft: Draft | undefined;

  constructor({ sequence, heads, mostPlaces, key, adapter }: DrafterOptions) {
    this.sequence = sequence;
    this.heads = heads;
    this.key = key;
    this.adapter = adapter;
    this.#mostPlaces = mostPlaces;
  }

  /** For the tokens after the last one; those of heads are what they guessed after the last step. */
  get guesses(): Guesses {
    return this.#guesses;
  }

  /** What the step verifies that is being computed. */
  get draft(): Draft | undefined {
    return this.#draft;
  }

  /** Places that can be guessed at all. */
  get placeCount(): number {
    return Math.min(this.#mostPlaces, this.heads?.headCount ?? this.#mostPlaces);
  }

  take(guesses: Guesses): void {
    this.#guesses = guesses.slice(0, this.#mostPlaces);
  }

  /** Looks for guesses where no heads make them. */
  look(): void {
    if (this.heads === undefined) this.#guesses = guessByNgram(this.sequence.tokens, this.#mostPlaces);
  }

  propose(draft: Draft): void {
    this.#draft = draft;
    this.sequence.propose(draft);
  }

  forget(): void {
    this.#guesses = [];
    this.#draft = undefined;
  }
}

/**
 * Drafting for all running sequences: what each step verifies, what is learnt from it, and whose heads guess next.
 * Changes how many steps an answer takes, never the answer. Knows no requests.
 */

import { LRUCache } from 'lru-cache';
import type { Backend, Forward } from '../../backend/backend.ts';
import type { SequenceAdvance } from '../sequence.ts';
import { BatchMedusaWeights, type HeadRow } from './batch-medusa-weights.ts';
import { mayPay, planDrafts, type StepSize } from './draft-planner.ts';
import { hopeOf, roomOf } from './draft-room.ts';
import { DraftingCosts } from './drafting-costs.ts';
import type { DraftingObserver } from './drafting-observer.ts';
import { Experience } from './experience.ts';
import { GuessPlanner } from './guess-planner.ts';
import type { SequenceDrafter } from './sequence-drafter.ts';

/** Adapters and heads whose acceptance is remembered. */
const MAX_KEYS = 1024;

/** Steps after which heads guess all their places once, or nobody would know any more what the farther ones are worth. */
const WIDE_GUESS_INTERVAL = 32;

/** Steps with drafts after which one goes without, or nobody would know any more what drafting saves. */
const LONGEST_RUN = 64;

export interface DraftingOptions {
  /** Most guesses per place, where a tree pays; with 1 all drafts are chains. */
  readonly candidates: number;
  /** Most rows of a step with drafts. */
  readonly mostRows: number;
  readonly observer: DraftingObserver;
  /** In milliseconds. */
  readonly now?: () => number;
}

/** A sequence of the step that was computed, where its segment was and what it brought. */
export interface AdvancedSequence {
  readonly drafter: SequenceDrafter;
  readonly segment: number;
  readonly advance: SequenceAdvance;
}

/** One whose heads are to guess, and how many of them. */
interface Guesser extends AdvancedSequence {
  readonly headCount: number;
}

interface ChosenGuessers {
  readonly wanted: readonly Guesser[];
  /** Guesses per place. */
  readonly candidates: number;
}

export class Drafting {
  readonly #backend: Pick<Backend, 'runDraft'>;
  readonly #model: Forward;
  readonly #options: DraftingOptions;
  readonly #now: () => number;
  readonly costs: DraftingCosts;
  readonly #planner: GuessPlanner;
  #stepCount = 0;
  readonly #experiences = new LRUCache<string, Experience>({ max: MAX_KEYS });

  constructor(backend: Pick<Backend, 'runDraft'>, model: Forward, options: DraftingOptions) {
    this.#backend = backend;
    this.#model = model;
    this.#options = options;
    this.costs = new DraftingCosts(options.candidates);
    this.#planner = new GuessPlanner(this.costs, options.mostRows);
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * Gives the sequences, all past their prompts, their drafts for a step that is so large without any. Rows of prompts in
   * the same step count against the limit only: what they cost is due in any case.
   */
  propose(drafters: readonly SequenceDrafter[], step: StepSize, promptRows: number): void {
    const cost = this.costs.ofSteps;
    if (cost.isOlder(step.rowCount, LONGEST_RUN)) return;
    const known = <T>(make: (...of: Parameters<typeof roomOf>) => T): T[] =>
      drafters.map((drafter) =>
        make(drafter.guesses, this.#experience(drafter).acceptance, drafter.sequence.draftRoom),
      );
    const bare = { ...step, mostRows: this.#options.mostRows - promptRows, cost };
    if (!mayPay(known(hopeOf), bare)) return;
    const rooms = known(roomOf);
    const { counts } = planDrafts(rooms, { ...bare, headMs: () => 0 });
    for (const [i, count] of counts.entries()) {
      if (count > 0) drafters[i]!.propose(rooms[i]!.tree.draft(count));
    }
  }

  /** Takes in what a step brought. */
  learn(advanced: readonly AdvancedSequence[]): void {
    this.#stepCount++;
    this.#tell(advanced);
    for (const { drafter, advance } of advanced) {
      const truth = advance.chosen.map(({ id }) => id);
      this.#experience(drafter).learn(drafter, truth);
      drafter.forget();
    }
  }

  /** Looks back for guesses, and lets heads guess where that is likely to pay beside them, or is to be tried again. */
  async guess(advanced: readonly AdvancedSequence[], nextStep: StepSize): Promise<void> {
    for (const { drafter } of advanced) drafter.lookBack();
    if (advanced.every(({ drafter }) => drafter.heads === undefined)) return;
    const { wanted, candidates } = this.#choose(advanced, nextStep);
    if (wanted.length === 0) return;
    const rows = wanted.map(({ drafter, segment, advance, headCount }): HeadRow => {
      const { heads, sequence } = drafter;
      return { heads: heads!, headCount, segment, output: advance.lastOutput, adapters: sequence.adapters };
    });
    const begun = this.#now();
    const guesses = await new BatchMedusaWeights(rows).guess(this.#backend, this.#model, candidates);
    const ms = this.#now() - begun;
    this.costs.ofHeads.get(candidates)!.learn(sum(rows.map(({ headCount }) => headCount)), ms);
    this.#options.observer.onGuessed(ms);
    for (const [i, { drafter }] of wanted.entries()) drafter.take(guesses[i]!);
  }

  #tell(advanced: readonly AdvancedSequence[]): void {
    const verified = advanced.flatMap(({ drafter: { draft, adapter }, advance }) =>
      draft ? [{ adapter, drafted: draft.countByPlace(), acceptedCount: advance.chosen.length - 1 }] : [],
    );
    if (verified.length > 0) this.#options.observer.onVerified(verified);
  }

  /** Those whose heads should guess: as planned, or to try them again. */
  #choose(advanced: readonly AdvancedSequence[], nextStep: StepSize): ChosenGuessers {
    const positions = advanced.map(({ drafter }) => ({ drafter, experience: this.#experience(drafter) }));
    const { headCounts, candidates } = this.#planner.plan(positions, nextStep);
    const isWide = this.#stepCount % WIDE_GUESS_INTERVAL === 0;
    const wanted = advanced.flatMap((one, i): Guesser[] => {
      const { drafter, experience } = positions[i]!;
      const planned = headCounts[i]!;
      if (drafter.headPlaces === 0 || drafter.sequence.draftRoom === 0) return [];
      if (!experience.asksHeads(drafter, planned > 0, this.#stepCount)) return [];
      return [{ ...one, headCount: isWide || planned === 0 ? drafter.headPlaces : planned }];
    });
    return { wanted, candidates };
  }

  #experience({ key }: SequenceDrafter): Experience {
    const known = this.#experiences.get(key);
    if (known !== undefined) return known;
    const experience = new Experience(this.#stepCount);
    this.#experiences.set(key, experience);
    return experience;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

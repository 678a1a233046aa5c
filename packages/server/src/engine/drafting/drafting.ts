/**
 * Drafting for all running sequences: what each step verifies, what is learnt from it, and whose heads guess next.
 * Changes how many steps an answer takes, never the answer. Knows no requests.
 */

import { LRUCache } from 'lru-cache';
import type { Backend, Forward } from '../../backend/backend.ts';
import type { SequenceAdvance } from '../sequence.ts';
import { BatchMedusaWeights, type HeadRow } from './batch-medusa-weights.ts';
import { planDrafts, type DraftPlan, type DraftRoom, type PlannedStep, type StepSize } from './draft-planner.ts';
import type { DraftingObserver } from './drafting-observer.ts';
import { DraftTree } from './draft-tree.ts';
import { Experience } from './experience.ts';
import type { Guesses } from './guesses.ts';
import type { SequenceDrafter } from './sequence-drafter.ts';
import { StepCost } from './step-cost.ts';

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

export class Drafting {
  readonly #backend: Pick<Backend, 'runDraft'>;
  readonly #model: Forward;
  readonly #options: DraftingOptions;
  readonly #now: () => number;
  /** By the number of sequences: as many rows of one sequence cost less than of several. */
  readonly #stepCosts = new Map<number, StepCost>();
  /** By the number of guesses per place; by the heads that guess, those of all rows counted. */
  readonly #headCosts: ReadonlyMap<number, StepCost>;
  #stepCount = 0;
  readonly #experiences = new LRUCache<string, Experience>({ max: MAX_KEYS });

  constructor(backend: Pick<Backend, 'runDraft'>, model: Forward, options: DraftingOptions) {
    this.#backend = backend;
    this.#model = model;
    this.#options = options;
    this.#headCosts = new Map([1, options.candidates].map((candidates) => [candidates, new StepCost()]));
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * Gives the sequences, all past their prompts, their drafts for a step that is so large without any. Rows of prompts in
   * the same step count against the limit only: what they cost is due in any case.
   */
  propose(drafters: readonly SequenceDrafter[], step: StepSize, promptRows: number): void {
    if (this.#stepCost(step.rowCount).isOlder(step.rowCount, LONGEST_RUN)) return;
    const rooms = drafters.map((drafter) => this.#roomOf(drafter, drafter.guesses.heads));
    const { counts } = planDrafts(
      rooms,
      this.#planned(step, () => 0, promptRows),
    );
    for (const [i, count] of counts.entries()) {
      if (count > 0) drafters[i]!.propose(rooms[i]!.tree.draft(count));
    }
  }

  /** Takes in what a step without prompts cost; a prompt's rows are cheaper than as many sequences' and drafts'. */
  learnCost(sequenceCount: number, rowCount: number, ms: number): void {
    this.#stepCost(sequenceCount).learn(rowCount, ms);
  }

  /** Takes in what it cost that so many heads guessed so many tokens each, those of all rows counted. */
  learnHeadCost(rankCount: number, headCount: number, ms: number): void {
    this.#headCosts.get(rankCount)?.learn(headCount, ms);
  }

  /** Guesses per place that heads may be asked for. */
  get rankCounts(): readonly number[] {
    return [...this.#headCosts.keys()];
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
    const { wanted, candidates } = this.#worthwhile(advanced, nextStep);
    if (wanted.length === 0) return;
    const rows = wanted.map(({ drafter, segment, advance, headCount }): HeadRow => {
      const { heads, sequence } = drafter;
      return { heads: heads!, headCount, segment, output: advance.lastOutput, adapters: sequence.adapters };
    });
    const begun = this.#now();
    const guesses = await new BatchMedusaWeights(rows).guess(this.#backend, this.#model, candidates);
    const ms = this.#now() - begun;
    this.learnHeadCost(candidates, sum(rows.map(({ headCount }) => headCount)), ms);
    this.#options.observer.onGuessed(ms);
    for (const [i, { drafter }] of wanted.entries()) drafter.take(guesses[i]!);
  }

  #tell(advanced: readonly AdvancedSequence[]): void {
    const verified = advanced.flatMap(({ drafter: { draft, adapter }, advance }) =>
      draft ? [{ adapter, drafted: draft.countByPlace(), acceptedCount: advance.chosen.length - 1 }] : [],
    );
    if (verified.length > 0) this.#options.observer.onVerified(verified);
  }

  /** Those whose heads should guess, and how many tokens for each place: whatever promises the fastest next step. */
  #worthwhile(
    advanced: readonly AdvancedSequence[],
    nextStep: StepSize,
  ): { readonly wanted: Guesser[]; readonly candidates: number } {
    const { plan, candidates } = this.#planGuesses(
      advanced.map(({ drafter }) => drafter),
      nextStep,
    );
    const isWide = this.#stepCount % WIDE_GUESS_INTERVAL === 0;
    const wanted = advanced.flatMap((one, i): Guesser[] => {
      const { drafter } = one;
      const planned = plan.placeCounts[i]!;
      if (drafter.headPlaces === 0 || drafter.sequence.draftRoom === 0) return [];
      if (!this.#experience(drafter).asksHeads(drafter, planned > 0, this.#stepCount)) return [];
      return [{ ...one, headCount: isWide || planned === 0 ? drafter.headPlaces : planned }];
    });
    return { wanted, candidates };
  }

  /** The fastest next step: with what looking back found alone, or also with guesses of heads that are not made yet. */
  #planGuesses(
    drafters: readonly SequenceDrafter[],
    nextStep: StepSize,
  ): { readonly plan: DraftPlan; readonly candidates: number } {
    const withoutHeads = drafters.map((drafter) => this.#roomOf(drafter, []));
    let plan = planDrafts(
      withoutHeads,
      this.#planned(nextStep, () => 0),
    );
    let chosen = 1;
    for (const [candidates, cost] of this.#headCosts) {
      const rooms = drafters.map((drafter) => this.#roomOf(drafter, unknownGuesses(drafter, candidates)));
      const headMs = (placeCount: number): number => (placeCount === 0 ? 0 : (cost.estimate(placeCount) ?? 0));
      const withHeads = planDrafts(rooms, this.#planned(nextStep, headMs));
      if (withHeads.speed > plan.speed) [plan, chosen] = [withHeads, candidates];
    }
    return { plan, candidates: chosen };
  }

  /** With whichever guesses promise more: those of the heads, or what looking back found, which costs no run of heads. */
  #roomOf(drafter: SequenceDrafter, ofHeads: Guesses): DraftRoom {
    const { acceptance } = this.#experience(drafter);
    const { lookback } = drafter.guesses;
    const count = lookback.length;
    const isFree =
      count > 0 &&
      DraftTree.promise(lookback, acceptance.lookback, count) >= DraftTree.promise(ofHeads, acceptance.heads, count);
    const tree = isFree ? new DraftTree(lookback, acceptance.lookback) : new DraftTree(ofHeads, acceptance.heads);
    return { tree, most: drafter.sequence.draftRoom, isFree };
  }

  #planned(step: StepSize, headMs: PlannedStep['headMs'], promptRows = 0): PlannedStep {
    return { ...step, mostRows: this.#options.mostRows - promptRows, cost: this.#stepCost(step.rowCount), headMs };
  }

  /** Of steps with so many sequences; a row costs what it does with one until more is known. */
  #stepCost(sequenceCount: number): StepCost {
    const known = this.#stepCosts.get(sequenceCount) ?? new StepCost(() => this.#stepCosts.get(1)?.rowMs);
    this.#stepCosts.set(sequenceCount, known);
    return known;
  }

  #experience({ key }: SequenceDrafter): Experience {
    const known = this.#experiences.get(key) ?? new Experience(this.#stepCount);
    this.#experiences.set(key, known);
    return known;
  }
}

/** Of guesses that heads might make only the chances are known. */
function unknownGuesses({ headPlaces }: SequenceDrafter, candidates: number): Guesses {
  const ranks = Array.from({ length: candidates }, () => ({ token: 0, confidence: undefined }));
  return Array.from({ length: headPlaces }, () => ranks);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

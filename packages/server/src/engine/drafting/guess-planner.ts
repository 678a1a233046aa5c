/**
 * Whose heads should guess, and how much: whatever promises the fastest next step beside what looking back found. Knows
 * what guesses are likely to be worth; never runs heads.
 */

import type { Sequence } from '../sequence.ts';
import { planDrafts, type DraftPlan, type StepSize } from './draft-planner.ts';
import { roomOf, type DraftRoom } from './draft-room.ts';
import type { DraftingCosts } from './drafting-costs.ts';
import type { Experience } from './experience.ts';
import type { Guesses } from './guesses.ts';
import type { SequenceDrafter } from './sequence-drafter.ts';

/** Steps for which heads that would not pay stay ruled out, twice as many each time: planning takes time too. */
const SHORTEST_PAUSE = 16;
const LONGEST_PAUSE = 256;

/** A sequence that could be drafted for, and what is known of its like. */
export interface GuessPosition {
  readonly drafter: Pick<SequenceDrafter, 'headPlaces' | 'guesses'> & {
    readonly sequence: Pick<Sequence, 'draftRoom'>;
  };
  readonly experience: Pick<Experience, 'acceptance'>;
}

export interface PlannedGuesses {
  /** How many heads should guess for each sequence. */
  readonly headCounts: readonly number[];
  /** Guesses per place. */
  readonly candidates: number;
}

/** Of steps with so many sequences. */
interface Pause {
  /** How many of them heads are not reckoned with. */
  readonly length: number;
  readonly stepsLeft: number;
}

export class GuessPlanner {
  readonly #costs: DraftingCosts;
  readonly #mostRows: number;
  /** By the number of sequences, where heads were in vain the last time. */
  readonly #pauses = new Map<number, Pause>();

  /** No step with drafts has more than `mostRows`. */
  constructor(costs: DraftingCosts, mostRows: number) {
    this.#costs = costs;
    this.#mostRows = mostRows;
  }

  /** For the next step, which is so large without drafts. */
  plan(positions: readonly GuessPosition[], nextStep: StepSize): PlannedGuesses {
    const { rowCount } = nextStep;
    const pause = this.#pauses.get(rowCount) ?? { length: SHORTEST_PAUSE / 2, stepsLeft: 0 };
    if (pause.stepsLeft > 0) {
      this.#pauses.set(rowCount, { ...pause, stepsLeft: pause.stepsLeft - 1 });
      return { headCounts: positions.map(() => 0), candidates: 1 };
    }
    const lookedBack = positions.map(({ drafter }) => drafter.guesses.lookback);
    const planned = this.#fastest(positions, lookedBack, nextStep);
    if (!isInVain(planned)) this.#pauses.delete(rowCount);
    else if (isInVain(this.#fastestAlone(positions, nextStep))) {
      const length = Math.min(LONGEST_PAUSE, 2 * pause.length);
      this.#pauses.set(rowCount, { length, stepsLeft: length });
    }
    return planned;
  }

  /** If looking back had found nothing. */
  #fastestAlone(positions: readonly GuessPosition[], nextStep: StepSize): PlannedGuesses {
    return this.#fastest(
      positions,
      positions.map(() => []),
      nextStep,
    );
  }

  /** With what looking back found alone, or also with guesses of heads that are not made yet. */
  #fastest(
    positions: readonly GuessPosition[],
    lookedBack: readonly Guesses[],
    { rowCount, tokenCount }: StepSize,
  ): PlannedGuesses {
    const step = { rowCount, tokenCount, mostRows: this.#mostRows, cost: this.#costs.ofSteps };
    const planWith = (candidates: number, headMs: (placeCount: number) => number): DraftPlan => {
      const rooms = positions.map(({ drafter, experience }, i): DraftRoom => {
        const guesses = { lookback: lookedBack[i]!, heads: unknownGuesses(drafter.headPlaces, candidates) };
        return roomOf(guesses, experience.acceptance, drafter.sequence.draftRoom);
      });
      return planDrafts(rooms, { ...step, headMs });
    };
    let best = { candidates: 1, plan: planWith(0, () => 0) };
    for (const [candidates, cost] of this.#costs.ofHeads) {
      const plan = planWith(candidates, (count) => (count === 0 ? 0 : (cost.estimate(count) ?? 0)));
      if (plan.speed > best.plan.speed) best = { candidates, plan };
    }
    return { headCounts: best.plan.placeCounts, candidates: best.candidates };
  }
}

function isInVain({ headCounts }: PlannedGuesses): boolean {
  return headCounts.every((count) => count === 0);
}

/** Of guesses that heads might make only the chances are known. */
function unknownGuesses(placeCount: number, candidates: number): Guesses {
  if (candidates === 0) return [];
  const ranks = Array.from({ length: candidates }, () => ({ token: 0, confidence: undefined }));
  return Array.from({ length: placeCount }, () => ranks);
}

/** What drafting takes, as it is learnt: steps by their rows, runs of heads by what they guess. Knows no guesses. */

import { Pace } from './pace.ts';
import { StepCost } from './step-cost.ts';

export class DraftingCosts {
  /** Of steps without prompts: their rows cost what they do whether as many sequences bring them or drafts. */
  readonly ofSteps: StepCost;
  /** By the number of guesses per place; each by the heads that guess, those of all rows counted. */
  readonly ofHeads: ReadonlyMap<number, StepCost>;

  /** Heads may be asked for one guess a place, or for as many as `candidates`. */
  constructor(candidates: number) {
    const pace = new Pace();
    this.ofSteps = new StepCost(pace);
    this.ofHeads = new Map([1, candidates].map((count) => [count, new StepCost(pace)]));
  }
}

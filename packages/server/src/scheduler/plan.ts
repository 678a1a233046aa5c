/** Which sequences take part in the next step, and with how many tokens. Pure; knows nothing about requests. */

import type { Sequence } from '../engine/sequence.ts';
import type { StepShare } from '../engine/runner.ts';

/**
 * Every sequence that is past its prompt gets its row; what is left of `prefillBudget` goes to prompts, oldest first.
 * A long prompt takes several steps, so that the others' rows never wait for all of it.
 */
export function planStep<S extends Sequence>(running: readonly S[], prefillBudget: number): StepShare<S>[] {
  const shares: StepShare<S>[] = [];
  let budget = prefillBudget;
  for (const sequence of running) {
    const wanted = sequence.pendingLen;
    const tokenCount = sequence.isPrefilling ? Math.min(wanted, budget) : wanted;
    if (sequence.isPrefilling) budget -= tokenCount;
    if (tokenCount > 0) shares.push({ sequence, tokenCount });
  }
  return shares;
}

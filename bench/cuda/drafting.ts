/** Steps that verify guesses, over the same steps without them: what a draft has to save to be worth it. */

import { decodeSegments } from './decode-segments.ts';
import type { ResidentModel } from './resident-model.ts';
import type { Result } from './result.ts';
import type { Sizes } from './sizes.ts';
import { timeSteps } from './step-time.ts';

export async function* measureDrafting(model: ResidentModel, sizes: Sizes): AsyncGenerator<Result, void, undefined> {
  const { drafts, context, repeats } = sizes;
  const { rowCount, guesses } = drafts;
  const time = (count: number) =>
    timeSteps(model, decodeSegments({ rowCount, slots: [], guesses: count }, context), repeats);
  const plain = await time(0);
  const drafted = await time(guesses);
  yield {
    work: `verify ${guesses} guesses each of ${rowCount} sequences, base`,
    value: drafted.ms / plain.ms,
    unit: 'times the step without',
    limit: undefined,
    details: { ...drafted, plainMs: plain.ms },
  };
}

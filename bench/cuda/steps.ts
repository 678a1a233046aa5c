/** The parts that are measured by steps alone. */

import { measureAdapterLoads } from './adapter-load.ts';
import type { Ceilings } from './ceilings.ts';
import { measureDecode } from './decode.ts';
import { measureDrafting } from './drafting.ts';
import type { Part } from './parts.ts';
import { measurePrefill } from './prefill.ts';
import type { ResidentModel } from './resident-model.ts';
import type { Result } from './result.ts';
import type { Sizes } from './sizes.ts';

export interface StepPart {
  readonly name: Part;
  readonly measure: (model: ResidentModel, ceilings: Ceilings, sizes: Sizes) => AsyncIterable<Result>;
}

/** Prompts come last, because they take the place of the contexts. */
export const STEP_PARTS: readonly StepPart[] = [
  { name: 'decode', measure: measureDecode },
  { name: 'drafting', measure: (model, _ceilings, sizes) => measureDrafting(model, sizes) },
  { name: 'adapters', measure: (model, _ceilings, sizes) => measureAdapterLoads(model, sizes) },
  { name: 'prefill', measure: measurePrefill },
];

/** Prompts in one step, over the rate at which the card multiplies matrices. */

import type { AdapterSlot } from '#server/backend/adapters.ts';
import { projections, type Shape } from '../shapes.ts';
import { sum } from '../statistics.ts';
import type { Ceilings } from './ceilings.ts';
import type { ResidentModel } from './resident-model.ts';
import type { Result } from './result.ts';
import type { Sizes } from './sizes.ts';
import { timeSteps } from './step-time.ts';

/** A prefill step takes as long as twenty decode steps; fewer tell as much. */
const REPEATS = 4;

const BASE_LIMIT = { atLeast: 0.6 };
const ADAPTERS_LIMIT = { atLeast: 0.5 };

export async function* measurePrefill(
  model: ResidentModel,
  ceilings: Ceilings,
  sizes: Sizes,
): AsyncGenerator<Result, void, undefined> {
  const { prompts, rank, repeats } = sizes;
  const measure = async (slots: readonly AdapterSlot[]): Promise<Result> => {
    const segments = Array.from({ length: prompts.count }, (_, i) =>
      model.prompt(i, prompts.length, i * prompts.length, slots[i]),
    );
    const { ms } = await timeSteps(model, segments, Math.min(REPEATS, repeats));
    return prefillResult(model.shape, sizes, slots, ms, ceilings);
  };
  yield await measure([]);
  const slots = await model.loadAdapters(Array.from({ length: prompts.count }, () => rank));
  yield await measure(slots);
  model.unload(slots);
}

function prefillResult(
  shape: Shape,
  { prompts, rank }: Sizes,
  slots: readonly AdapterSlot[],
  ms: number,
  { flopsPerSecond }: Ceilings,
): Result {
  const tokens = prompts.count * prompts.length;
  const flops = productFlops(shape, tokens, prompts.count);
  const adapters = slots.length === 0 ? 'base' : `${slots.length} adapters of rank ${rank}`;
  return {
    work: `prefill ${prompts.count} x ${prompts.length}, ${adapters}`,
    value: flops / (ms / 1000) / flopsPerSecond,
    unit: "of the card's GEMM rate",
    limit: slots.length === 0 ? BASE_LIMIT : ADAPTERS_LIMIT,
    details: { ms, teraflopsPerSecond: flops / ms / 1e9, tokensPerSecond: (1000 * tokens) / ms },
  };
}

/** Of the products with the base model's matrices alone: attention and adapters are work on top, and count for nothing. */
function productFlops(shape: Shape, tokens: number, outputs: number): number {
  const layers = sum(projections(shape).map(({ inFeatures, outFeatures }) => inFeatures * outFeatures));
  return 2 * (tokens * layers + outputs * shape.hiddenSize * shape.vocabSize);
}

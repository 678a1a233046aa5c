/** A new adapter from host memory to usable while decode steps run, and what it does to them. */

import type { AdapterSlot, AdapterTensors } from '#server/backend/adapters.ts';
import type { StepSegment } from '#server/backend/step.ts';
import { median, quantile } from '../statistics.ts';
import { decodeSegments } from './decode-segments.ts';
import type { ResidentModel } from './resident-model.ts';
import type { Result } from './result.ts';
import type { Sizes } from './sizes.ts';
import { timeSteps } from './step-time.ts';

const LOAD_LIMIT = { atMost: 20 };
const GROWTH_LIMIT = { atMost: 1.1 };

/** Steps between two loads. */
const APART = 4;

/** All in milliseconds. */
interface Samples {
  readonly loads: number[];
  /** Steps that began while an adapter was on its way. */
  readonly beside: number[];
  readonly others: number[];
}

export async function* measureAdapterLoads(
  model: ResidentModel,
  sizes: Sizes,
): AsyncGenerator<Result, void, undefined> {
  const { rank, loads, context, repeats, usualRows: rowCount } = sizes;
  const segments = decodeSegments({ rowCount, slots: [] }, context);
  await timeSteps(model, segments, repeats);
  const samples: Samples = { loads: [], beside: [], others: [] };
  for (let i = 0; i < loads; i++) {
    const tensors = model.makeAdapter(rank);
    for (let step = 0; step < APART; step++) samples.others.push(await timeStep(model, segments));
    model.unload([await loadBesideSteps(model, tensors, segments, samples)]);
  }
  yield loadResult(rank, samples.loads);
  yield growthResult(samples);
}

async function loadBesideSteps(
  model: ResidentModel,
  tensors: AdapterTensors,
  segments: readonly StepSegment[],
  { loads, beside }: Samples,
): Promise<AdapterSlot> {
  const begun = performance.now();
  let isLoading = true;
  const loaded = model.loadAdapter(tensors).finally(() => {
    isLoading = false;
    loads.push(performance.now() - begun);
  });
  while (isLoading) beside.push(await timeStep(model, segments));
  return loaded;
}

async function timeStep(model: ResidentModel, segments: readonly StepSegment[]): Promise<number> {
  const begun = performance.now();
  await model.run(segments);
  return performance.now() - begun;
}

function loadResult(rank: number, loads: readonly number[]): Result {
  return {
    work: `a new adapter of rank ${rank} while steps run`,
    value: median(loads),
    unit: 'ms from host memory to usable',
    limit: LOAD_LIMIT,
    details: { longestMs: quantile(loads, 1), count: loads.length },
  };
}

function growthResult({ beside, others }: Samples): Result {
  const [longest, longestOther] = [quantile(beside, 1), quantile(others, 1)];
  return {
    work: 'the longest step while adapters are loaded',
    value: longest / longestOther,
    unit: 'times the longest of the others',
    limit: GROWTH_LIMIT,
    details: {
      ...{ longestMs: longest, longestOtherMs: longestOther, medianMs: median(beside), medianOtherMs: median(others) },
      ...{ count: beside.length, otherCount: others.length },
    },
  };
}

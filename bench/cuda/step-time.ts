/** How long a step takes: the median of several, after as many that nobody counts. */

import type { StepSegment } from '#server/backend/step.ts';
import { median } from '../statistics.ts';
import type { ResidentModel } from './resident-model.ts';

export interface StepTime {
  readonly ms: number;
  /** In which the host prepared it, of these. */
  readonly hostMs: number;
}

export async function timeSteps(
  model: Pick<ResidentModel, 'run'>,
  segments: readonly StepSegment[],
  repeats: number,
): Promise<StepTime> {
  // The first may compile, capture or take memory; clocks settle, and JavaScript becomes fast.
  for (let i = 0; i < repeats; i++) await model.run(segments);
  const samples: StepTime[] = [];
  for (let i = 0; i < repeats; i++) {
    const begun = performance.now();
    const { times } = await model.run(segments);
    samples.push({ ms: performance.now() - begun, hostMs: times.buildMs });
  }
  return { ms: median(samples.map(({ ms }) => ms)), hostMs: median(samples.map(({ hostMs }) => hostMs)) };
}

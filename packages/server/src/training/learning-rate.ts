/** The learning rate of each update: linear warm-up, then what the schedule's name says. */

import type { SCHEDULES } from '../config/train-options.ts';

export type Schedule = (typeof SCHEDULES)[number];

export interface RatePlan {
  readonly peak: number;
  readonly schedule: Schedule;
  readonly updateCount: number;
  /** Share of the updates during which the rate rises. */
  readonly warmupRatio: number;
}

/** Of update `index`, from 0. The first one already moves: a rate of 0 would waste it. */
export function learningRate({ peak, schedule, updateCount, warmupRatio }: RatePlan, index: number): number {
  const warmupCount = Math.ceil(updateCount * warmupRatio);
  if (index < warmupCount) return (peak * (index + 1)) / (warmupCount + 1);
  const progress = (index - warmupCount) / Math.max(1, updateCount - warmupCount);
  return peak * DECAYS[schedule](progress);
}

const DECAYS: Readonly<Record<Schedule, (progress: number) => number>> = {
  cosine: (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)),
  linear: (progress) => 1 - progress,
  constant_with_warmup: () => 1,
};

/** Sums of head scores, and the figures that people read off them. */

import type { HeadScore } from '../backend/training.ts';

/** Null where the head had nothing to guess: JSON knows no NaN. */
export interface HeadFigures {
  /** Cross-entropy a token, in nats. */
  readonly loss: number | null;
  /** Share of tokens that were the head's first guess, or among its five. */
  readonly top1: number | null;
  readonly top5: number | null;
}

export function noScores(headCount: number): HeadScore[] {
  return Array.from({ length: headCount }, () => ({ lossSum: 0, count: 0, top1: 0, top5: 0 }));
}

export function addScores(a: readonly HeadScore[], b: readonly HeadScore[]): HeadScore[] {
  return a.map((one, head) => {
    const other = b[head]!;
    return {
      lossSum: one.lossSum + other.lossSum,
      count: one.count + other.count,
      top1: one.top1 + other.top1,
      top5: one.top5 + other.top5,
    };
  });
}

export function figures(scores: readonly HeadScore[]): HeadFigures[] {
  return scores.map(({ lossSum, count, top1, top5 }) => {
    const share = (sum: number): number | null => (count === 0 ? null : sum / count);
    return { loss: share(lossSum), top1: share(top1), top5: share(top5) };
  });
}

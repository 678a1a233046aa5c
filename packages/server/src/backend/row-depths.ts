/** How the rows of a segment follow each other. Pure. */

import type { StepSegment } from './step.ts';

/** How far each row of the segment lies behind its first one: the places between their positions. */
export function rowDepths({ tokens, parents }: Pick<StepSegment, 'tokens' | 'parents'>): number[] {
  const depths: number[] = [];
  for (let row = 0; row < tokens.length; row++) {
    const parent = parents === undefined ? row - 1 : parents[row]!;
    depths.push(parent < 0 ? 0 : depths[parent]! + 1);
  }
  return depths;
}

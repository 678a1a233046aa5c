/**
 * Which steps are of one shape: the same operations on the same memory, with other inputs. Rows that fill a step up to the
 * next usual size make many steps alike. Pure.
 */

import type { StepOptions } from '../backend.ts';
import type { StepSegment } from '../step.ts';
import { shapeUses, usesKey } from './adapter-uses.ts';
import { drawsTokens } from './draws.ts';
import { hasTrees, rowsOf } from './step-layout.ts';

/** Steps with more rows are seldom alike, and long enough for the host to keep up with them. */
const MOST_ROWS = 256;

export interface StepShape {
  readonly rowCount: number;
  /** Equal for steps of one shape. */
  readonly key: string;
}

/** Undefined where the step is likely to be one of a kind: one with prompts. */
export function shapeOf(segments: readonly StepSegment[], options: StepOptions): StepShape | undefined {
  if (segments.some(({ tokens, outputCount }) => tokens.length !== outputCount)) return undefined;
  const given = segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
  if (given > MOST_ROWS) return undefined;
  const rowCount = usualSize(given);
  const { reduce, keepHidden } = options;
  const uses = usesKey(shapeUses(rowsOf(segments)));
  const key = [rowCount, hasTrees(segments), drawsTokens(segments), reduce, keepHidden, uses].join();
  return { rowCount, key };
}

/** Every size up to eight rows, then four to each doubling: less than a quarter more than needed. */
export function usualSize(rowCount: number): number {
  const unit = Math.max(1, 2 ** Math.floor(Math.log2(rowCount - 1) - 2));
  return Math.ceil(rowCount / unit) * unit;
}

/** The segments, and rows in `spareCell` that see nothing but themselves and whose results nobody reads. */
export function fillUp(segments: readonly StepSegment[], rowCount: number, spareCell: number): StepSegment[] {
  const given = segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const filling = { tokens: [0], position: 0, firstCell: spareCell, adapters: [], outputCount: 1 };
  return [...segments, ...Array.from({ length: rowCount - given }, (): StepSegment => filling)];
}

/**
 * Which steps are of one shape: the same operations on the same memory, with other inputs. Rows that fill a step up to the
 * next usual size make many steps alike. Pure.
 */

import type { StepOptions } from '../backend.ts';
import type { StepSegment } from '../step.ts';
import { shapeUses, usesKey } from './adapter-uses.ts';
import { drawsTokens } from './draws.ts';
import { countRows, hasTrees, type StepLayout } from './step-layout.ts';

/** Steps with more rows are seldom alike, and long enough for the host to keep up with them. */
const MOST_ROWS = 256;

/** So many rows are in every step of the shape; undefined where the step is likely to be one of a kind: one with prompts. */
export function shapedRows(segments: readonly StepSegment[]): number | undefined {
  if (segments.some(({ tokens, outputCount }) => tokens.length !== outputCount)) return undefined;
  const given = countRows(segments);
  return given > MOST_ROWS ? undefined : usualSize(given);
}

/** Equal for steps of one shape, that of rows which fill a step up with it. */
export function shapeKey({ segments, rows }: StepLayout, { reduce, keepHidden }: StepOptions): string {
  const uses = usesKey(shapeUses(rows));
  return [rows.rows.length, hasTrees(segments), drawsTokens(segments), reduce, keepHidden, uses].join();
}

/** Every size up to eight rows, then four to each doubling: less than a quarter more than needed. */
export function usualSize(rowCount: number): number {
  const unit = Math.max(1, 2 ** Math.floor(Math.log2(rowCount - 1) - 2));
  return Math.ceil(rowCount / unit) * unit;
}

/** The segments, and rows in `spareCell` that see nothing but themselves and whose results nobody reads. */
export function fillUp(segments: readonly StepSegment[], rowCount: number, spareCell: number): StepSegment[] {
  const filling = { tokens: [0], position: 0, firstCell: spareCell, adapters: [], outputCount: 1 };
  return [...segments, ...Array.from({ length: rowCount - countRows(segments) }, (): StepSegment => filling)];
}

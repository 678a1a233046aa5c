/** The rows of a step as its operations need them: tokens, positions, cells, adapters, and whose logits are wanted. Pure. */

import { rowDepths } from '../row-depths.ts';
import type { StepSegment, WeightedSlot } from '../step.ts';
import type { RowSet } from './row-set.ts';

export interface StepLayout {
  readonly segments: readonly StepSegment[];
  /** All rows, in the order of the segments. */
  readonly rows: RowSet;
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  /** Where each row's key and value go. */
  readonly cells: Int32Array;
  /** The rows whose logits are wanted: the same set where all are. */
  readonly outputs: RowSet;
  readonly outputRows: Int32Array;
  /** First output of each segment. */
  readonly firstOutputs: readonly number[];
  /** Single cells that all rows together see at most, in any step of so many rows with or without trees. */
  readonly mostListed: number;
}

/** Tokens that a row of a tree follows within its segment, itself among them, at most. */
const MOST_FOLLOWED = 65;

export function layOutStep(segments: readonly StepSegment[]): StepLayout {
  const rowCount = countRows(segments);
  const all: (readonly WeightedSlot[])[] = [];
  const tokens = new Int32Array(rowCount);
  const positions = new Int32Array(rowCount);
  const cells = new Int32Array(rowCount);
  for (const segment of segments) {
    const { position, firstCell, adapters } = segment;
    const depths = rowDepths(segment);
    for (let i = 0; i < depths.length; i++) {
      const row = all.push(adapters) - 1;
      tokens[row] = segment.tokens[i]!;
      positions[row] = position + depths[i]!;
      cells[row] = firstCell + position + i;
    }
  }
  const { firstOutputs, outputRows } = findOutputs(segments, rowCount);
  const rows = { rows: all };
  const outputs = outputRows.length === rowCount ? rows : { rows: Array.from(outputRows, (row) => all[row]!) };
  const mostListed = hasTrees(segments) ? rowCount * Math.min(rowCount, MOST_FOLLOWED) : 0;
  // Spread nothing here: V8 takes a microsecond or more for each property that follows.
  return { segments, rows, tokens, positions, cells, outputs, outputRows, firstOutputs, mostListed };
}

/** `rowCount` is that of all segments. */
function findOutputs(
  segments: readonly StepSegment[],
  rowCount: number,
): Pick<StepLayout, 'firstOutputs' | 'outputRows'> {
  const firstOutputs: number[] = [];
  const outputRows: number[] = [];
  let end = 0;
  for (const { tokens, outputCount } of segments) {
    firstOutputs.push(outputRows.length);
    end += tokens.length;
    for (let row = end - outputCount; row < end; row++) outputRows.push(row);
  }
  // A step in which no row wants logits (inner chunks of prompts) still ends in one: there are no empty products.
  if (outputRows.length === 0) outputRows.push(rowCount - 1);
  return { firstOutputs, outputRows: Int32Array.from(outputRows) };
}

export function countRows(segments: readonly StepSegment[]): number {
  return segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

export function hasTrees(segments: readonly StepSegment[]): boolean {
  return segments.some(({ parents }) => parents !== undefined);
}

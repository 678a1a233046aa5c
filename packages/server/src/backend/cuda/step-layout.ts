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
  const rows: (readonly WeightedSlot[])[] = [];
  const [tokens, positions, cells] = [new Int32Array(rowCount), new Int32Array(rowCount), new Int32Array(rowCount)];
  const outputRows: number[] = [];
  const firstOutputs: number[] = [];
  for (const segment of segments) {
    const { position, firstCell, outputCount, adapters } = segment;
    const depths = rowDepths(segment);
    firstOutputs.push(outputRows.length);
    for (let i = 0; i < depths.length; i++) {
      const row = rows.length;
      tokens[row] = segment.tokens[i]!;
      positions[row] = position + depths[i]!;
      cells[row] = firstCell + position + i;
      if (i >= depths.length - outputCount) outputRows.push(row);
      rows.push(adapters);
    }
  }
  // A step in which no row wants logits (inner chunks of prompts) still ends in one: there are no empty products.
  if (outputRows.length === 0) outputRows.push(rowCount - 1);
  const all = { rows };
  return {
    ...{ segments, rows: all, tokens, positions, cells },
    outputs: outputRows.length === rowCount ? all : { rows: outputRows.map((output) => rows[output]!) },
    outputRows: Int32Array.from(outputRows),
    firstOutputs,
    mostListed: hasTrees(segments) ? rowCount * Math.min(rowCount, MOST_FOLLOWED) : 0,
  };
}

export function countRows(segments: readonly StepSegment[]): number {
  return segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

export function hasTrees(segments: readonly StepSegment[]): boolean {
  return segments.some(({ parents }) => parents !== undefined);
}

/**
 * The order of a step's rows in memory: segments sorted so that rows of one adapter, and of adapters that lie side by
 * side, are neighbours. Pure arithmetic: knows no tensors and no library.
 */

import type { StepSegment } from '../step.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';

/** Neighbouring rows with the same adapter. */
export interface AdapterGroup {
  readonly slot: GgmlAdapterSlot;
  readonly firstRow: number;
  readonly rowCount: number;
}

/** A set of rows that flows through the graph together. */
export interface RowSet {
  readonly rowCount: number;
  /** In row order; rows between groups are bare base rows. */
  readonly groups: readonly AdapterGroup[];
}

export interface PlacedSegment {
  readonly segment: StepSegment;
  /** Its place in the caller's list. */
  readonly index: number;
  readonly firstRow: number;
  /** First row among the output rows. */
  readonly firstOutput: number;
}

export interface StepLayout {
  readonly segments: readonly PlacedSegment[];
  /** All rows of the step. */
  readonly rows: RowSet;
  /** The rows whose logits are wanted, in the order of `outputRows`. */
  readonly outputs: RowSet;
  /** Step row of each output. */
  readonly outputRows: Int32Array;
}

export function layOutStep(segments: readonly StepSegment[]): StepLayout {
  const order = segments.map((segment, index) => ({ segment, index, slot: slotOf(segment) }));
  order.sort((a, b) => compareSlots(a.slot, b.slot) || a.index - b.index);
  const placed: PlacedSegment[] = [];
  const outputRows: number[] = [];
  let firstRow = 0;
  for (const { segment, index } of order) {
    placed.push({ segment, index, firstRow, firstOutput: outputRows.length });
    firstRow += segment.tokens.length;
    for (let row = firstRow - segment.outputCount; row < firstRow; row++) outputRows.push(row);
  }
  // A step in which no row wants logits (inner chunks of prompts) still ends in one: ggml has no empty products.
  if (outputRows.length === 0) outputRows.push(firstRow - 1);
  const rows = { rowCount: firstRow, groups: groupRows(placed, (p) => [p.firstRow, p.segment.tokens.length]) };
  const outputs = {
    rowCount: outputRows.length,
    groups: groupRows(placed, (p) => [p.firstOutput, p.segment.outputCount]),
  };
  return { segments: placed, rows, outputs, outputRows: Int32Array.from(outputRows) };
}

function slotOf(segment: StepSegment): GgmlAdapterSlot | undefined {
  return segment.adapter as GgmlAdapterSlot | undefined;
}

/** Base rows first, then by where the adapters lie. */
function compareSlots(a: GgmlAdapterSlot | undefined, b: GgmlAdapterSlot | undefined): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  return a.bank.id - b.bank.id || a.offset - b.offset;
}

function groupRows(
  placed: readonly PlacedSegment[],
  extent: (segment: PlacedSegment) => readonly [firstRow: number, rowCount: number],
): AdapterGroup[] {
  const groups: AdapterGroup[] = [];
  for (const segment of placed) {
    const slot = slotOf(segment.segment);
    const [firstRow, rowCount] = extent(segment);
    if (slot === undefined || rowCount === 0) continue;
    const last = groups.at(-1);
    if (last?.slot === slot) groups[groups.length - 1] = { ...last, rowCount: last.rowCount + rowCount };
    else groups.push({ slot, firstRow, rowCount });
  }
  return groups;
}

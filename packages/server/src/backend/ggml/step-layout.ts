/**
 * The order of a step's rows in memory: segments sorted so that rows of one adapter, and of adapters that lie side by
 * side, are neighbours. Pure arithmetic: knows no tensors and no library.
 */

import type { StepSegment, WeightedSlot } from '../step.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';

/** Neighbouring rows with the same adapter at the same weight. */
export interface AdapterGroup {
  readonly slot: GgmlAdapterSlot;
  readonly weight: number;
  readonly firstRow: number;
  readonly rowCount: number;
}

/** A set of rows that flows through the graph together. */
export interface RowSet {
  readonly rowCount: number;
  /** In row order, first every row's first adapter, then the second ones; rows in no group are bare base rows. */
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
  const order = segments.map((segment, index) => ({ segment, index }));
  order.sort((a, b) => compareAdapters(a.segment.adapters, b.segment.adapters) || a.index - b.index);
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

/** Base rows first, then by where the adapters lie. */
function compareAdapters(a: readonly WeightedSlot[], b: readonly WeightedSlot[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [left, right] = [slotAt(a, i), slotAt(b, i)];
    const order = left.bank.id - right.bank.id || left.offset - right.offset || a[i]!.weight - b[i]!.weight;
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function slotAt(adapters: readonly WeightedSlot[], index: number): GgmlAdapterSlot {
  return adapters[index]!.slot as GgmlAdapterSlot;
}

function groupRows(
  placed: readonly PlacedSegment[],
  extent: (segment: PlacedSegment) => readonly [firstRow: number, rowCount: number],
): AdapterGroup[] {
  const groups: AdapterGroup[] = [];
  const mostAdapters = Math.max(0, ...placed.map(({ segment }) => segment.adapters.length));
  for (let depth = 0; depth < mostAdapters; depth++) {
    for (const segment of placed) {
      const adapter = segment.segment.adapters[depth];
      const [firstRow, rowCount] = extent(segment);
      if (adapter === undefined || rowCount === 0) continue;
      const group = { slot: adapter.slot as GgmlAdapterSlot, weight: adapter.weight, firstRow, rowCount };
      const last = groups.at(-1);
      if (last && continues(last, group)) groups[groups.length - 1] = { ...last, rowCount: last.rowCount + rowCount };
      else groups.push(group);
    }
  }
  return groups;
}

function continues(last: AdapterGroup, group: AdapterGroup): boolean {
  return last.slot === group.slot && last.weight === group.weight && last.firstRow + last.rowCount === group.firstRow;
}

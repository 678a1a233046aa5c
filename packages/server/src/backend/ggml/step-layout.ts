/**
 * The order of a step's rows in memory: segments sorted so that rows of one adapter, and of adapters that lie side by
 * side, are neighbours. Pure arithmetic: knows no tensors and no library.
 */

import type { StepSegment, WeightedSlot } from '../step.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';
import { makeRowSet, type RowSet } from './row-set.ts';

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
  const rows = makeRowSet(
    placed.map(({ segment }) => ({ adapters: segment.adapters, rowCount: segment.tokens.length })),
  );
  const wanted = placed.map(({ segment }) => ({ adapters: segment.adapters, rowCount: segment.outputCount }));
  const outputs = { ...makeRowSet(wanted), rowCount: outputRows.length };
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

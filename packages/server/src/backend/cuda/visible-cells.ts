/** Which cells of the KV store each row of a step sees, as the attention kernel reads it. Pure arithmetic. */

import type { StepSegment } from '../step.ts';
import { rowDepths } from '../row-depths.ts';

export interface VisibleCells {
  /** For each row `[first, count, listStart, listCount]`: neighbouring cells, and a part of `list`. */
  readonly rows: Int32Array;
  /** Single cells, of rows that follow some rows of their segment and not others. */
  readonly list: Int32Array;
}

/** A token sees itself and those before it, the last `window` of them; undefined is all. */
export function visibleCells(segments: readonly StepSegment[], window: number | undefined): VisibleCells {
  const rows: number[] = [];
  const list: number[] = [];
  for (const segment of segments) {
    const { position, firstCell, parents } = segment;
    for (const [row, depth] of rowDepths(segment).entries()) {
      const oldest = window === undefined ? 0 : Math.max(0, position + depth - window + 1);
      const listStart = list.length;
      if (parents !== undefined) list.push(...branchCells(segment, row, depth, oldest));
      const end = parents === undefined ? position + row + 1 : position;
      rows.push(firstCell + oldest, Math.max(0, end - oldest), listStart, list.length - listStart);
    }
  }
  return { rows: Int32Array.from(rows), list: Int32Array.from(list) };
}

/** Of the row of a tree and those of its segment that it follows, as far back as `oldest`. */
function branchCells(segment: StepSegment, row: number, depth: number, oldest: number): number[] {
  const { position, firstCell, parents = [] } = segment;
  const cells: number[] = [];
  let at = row;
  for (let back = depth; at >= 0 && position + back >= oldest; back--) {
    cells.push(firstCell + position + at);
    at = parents[at]!;
  }
  return cells;
}

/** Which cells of the KV store the rows of a segment see, and the mask that says so row by row. Knows no products. */

import { GGML_TYPE } from './functions.ts';
import type { GraphContext } from './graph-context.ts';
import type { Pointer } from '../../native/ffi.ts';
import { rowDepths } from '../row-depths.ts';
import type { PlacedSegment } from './step-layout.ts';

const HALF_MINUS_INFINITY = 0xfc00;

/** `length` cells from `first`, counted from the sequence's first token. */
export interface Visible {
  readonly first: number;
  readonly length: number;
}

export function visibleCells({ segment }: PlacedSegment, window: number | undefined): Visible {
  const end = segment.position + segment.tokens.length;
  const first = window === undefined ? 0 : Math.max(0, segment.position - window + 1);
  return { first, length: end - first };
}

/** The masks made so far in a step: the layers with one window share them. */
export class Masks {
  readonly #graph: GraphContext;
  readonly #made = new Map<string, Pointer>();

  constructor(graph: GraphContext) {
    this.#graph = graph;
  }

  /**
   * `[visible cells, rows * copies]` float16, every row `copies` times: 0 where it sees a cell, minus infinity elsewhere.
   * Null for a single row, which sees all of them.
   */
  get(placed: PlacedSegment, visible: Visible, window: number | undefined, copies: number): Pointer | null {
    if (placed.segment.tokens.length === 1) return null;
    const key = `${placed.index} ${window} ${copies}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const data = maskOf(placed, visible, window, copies);
    const mask = this.#graph.input(GGML_TYPE.float16, visible.length, data.length / visible.length, data);
    this.#made.set(key, mask);
    return mask;
  }
}

function maskOf(
  { segment }: PlacedSegment,
  visible: Visible,
  window: number | undefined,
  copies: number,
): Uint16Array<ArrayBuffer> {
  const rowCount = segment.tokens.length;
  const data = new Uint16Array(visible.length * rowCount * copies).fill(HALF_MINUS_INFINITY);
  const depths = rowDepths(segment);
  for (let row = 0; row < rowCount; row++) {
    const start = row * copies * visible.length;
    const seen = data.subarray(start, start + visible.length);
    const oldest = window === undefined ? 0 : Math.max(0, segment.position + depths[row]! - window + 1);
    const newest = segment.parents === undefined ? segment.position + row + 1 : segment.position;
    seen.fill(0, Math.max(0, oldest - visible.first), Math.max(0, newest - visible.first));
    for (const other of branchOf(row, segment.parents)) {
      if (segment.position + depths[other]! >= oldest) seen[segment.position + other - visible.first] = 0;
    }
    for (let copy = 1; copy < copies; copy++) data.set(seen, start + copy * visible.length);
  }
  return data;
}

/** The row of a tree and those of its segment that it follows. */
function branchOf(row: number, parents: readonly number[] = []): number[] {
  const branch: number[] = [];
  if (parents.length > 0) for (let at = row; at >= 0; at = parents[at]!) branch.push(at);
  return branch;
}

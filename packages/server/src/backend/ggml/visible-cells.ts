/** Which cells of the KV store the rows of a segment see, and the inputs of the step that say so. Knows no products. */

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

/** The inputs made so far in a step: layers with one window share them. */
export class VisibleInputs {
  readonly #graph: GraphContext;
  readonly #masks = new Map<string, Pointer>();
  readonly #cells = new Map<string, Pointer>();

  constructor(graph: GraphContext) {
    this.#graph = graph;
  }

  /**
   * `[visible cells, rows * copies]` float16, every row `copies` times: 0 where it sees a cell, minus infinity elsewhere.
   * Null for a single row, which sees all of them.
   */
  mask(placed: PlacedSegment, visible: Visible, window: number | undefined, copies: number): Pointer | null {
    if (placed.segment.tokens.length === 1) return null;
    const key = `${placed.index} ${window} ${copies}`;
    const known = this.#masks.get(key);
    if (known !== undefined) return known;
    const data = maskOf(placed, visible, window, copies);
    const mask = this.#graph.input(GGML_TYPE.float16, visible.length, data.length / visible.length, data);
    this.#masks.set(key, mask);
    return mask;
  }

  /** `[visible cells]` int32: which cells of the store they are. */
  cells({ segment, index }: PlacedSegment, { first, length }: Visible): Pointer {
    const key = `${index} ${first}`;
    const known = this.#cells.get(key);
    if (known !== undefined) return known;
    const data = Int32Array.from({ length }, (_, i) => segment.firstCell + first + i);
    const cells = this.#graph.input(GGML_TYPE.int32, length, 1, data);
    this.#cells.set(key, cells);
    return cells;
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

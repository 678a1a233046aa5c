/**
 * Which cells of the KV store each row of a step sees, cut into what the blocks of the attention kernels look at: shares of a
 * row's cells, or tiles of neighbouring rows. Pure arithmetic; how much is cut may differ from step to step, the room may not.
 */

import { rowDepths } from '../row-depths.ts';
import type { StepSegment } from '../step.ts';
import { cutRows, NO_LIST, type VisibleCells } from './attention-shares.ts';
import { countRows } from './step-layout.ts';

export interface PlanOptions {
  /** A token sees itself and those before it, so many of them at most; undefined is all. */
  readonly window: number | undefined;
  /** Blocks of the kernel that look at one share. */
  readonly blocksPerShare: number;
  /** Blocks that fill the device. */
  readonly enoughBlocks: number;
  /** Whether long runs of rows go to tiles: where the program is for one step only. */
  readonly usesTiles: boolean;
}

/** Tables as `kernels/attention.cu` and `kernels/prompt-attention.cu` read them. */
export interface AttentionPlan {
  /**
   * `[row, first, oldCount, newCount, listStart, part, firstPart, partCount]` each; those that are not used have row -1. Old
   * cells were there before the step, new ones it writes; without a list (-1) these follow the old ones.
   */
  readonly shares: Int32Array;
  /** Single cells that shares name: of rows that follow some rows of their segment and not others. */
  readonly list: Int32Array;
  /** `[row, rowCount, first, before]` each, the longest work first. */
  readonly tiles: Int32Array;
}

/** Of the tables that steps with so many rows need. */
export interface AttentionRoom {
  readonly shareCount: number;
  /** Shares at most that hold a part of a row and not all of it. */
  readonly partCount: number;
  readonly tileCount: number;
}

export const TILE_INTS = 4;
export const TILE_ROWS = 128;

/** Shorter runs would leave most of a tile empty. */
const LEAST_RUN = 16;

/** Depends on how many rows there are, never on what they see, where no tiles are used. */
export function roomFor(segments: readonly StepSegment[], options: PlanOptions): AttentionRoom {
  const runs = segments.filter((segment) => isRun(segment, options)).map(({ tokens }) => tokens.length);
  const tileCount = runs.reduce((sum, length) => sum + Math.ceil(length / TILE_ROWS), 0);
  const rowCount = countRows(segments) - runs.reduce((sum, length) => sum + length, 0);
  if (rowCount === 0) return { shareCount: 0, partCount: 0, tileCount };
  const enough = Math.ceil(options.enoughBlocks / options.blocksPerShare);
  // Where the rows fill the device by themselves, long ones among them can still be cut.
  const shareCount = Math.max(enough, rowCount + Math.ceil(enough / 2));
  const partCount = Math.min(shareCount, 2 * (shareCount - rowCount));
  return { shareCount, partCount, tileCount };
}

export function planAttention(segments: readonly StepSegment[], options: PlanOptions): AttentionPlan {
  const rows: VisibleCells[] = [];
  const list: number[] = [];
  const tiles: number[][] = [];
  let row = 0;
  for (const segment of segments) {
    if (isRun(segment, options)) addTiles(tiles, segment, row, options.window);
    else addRows(rows, list, segment, row, options.window);
    row += segment.tokens.length;
  }
  tiles.sort((a, b) => tileWork(b) - tileWork(a));
  return {
    shares: cutRows(rows, roomFor(segments, options).shareCount),
    list: Int32Array.from(list),
    tiles: Int32Array.from(tiles.flat()),
  };
}

function isRun({ tokens, parents }: StepSegment, { usesTiles }: PlanOptions): boolean {
  return usesTiles && parents === undefined && tokens.length >= LEAST_RUN;
}

/** The position of the first token that the one at `position` sees. */
function oldestOf(position: number, window: number | undefined): number {
  return window === undefined ? 0 : Math.max(0, position - window + 1);
}

/** `row` is the step's row of the segment's first token. */
function addTiles(tiles: number[][], segment: StepSegment, row: number, window: number | undefined): void {
  const { tokens, firstCell } = segment;
  for (let skipped = 0; skipped < tokens.length; skipped += TILE_ROWS) {
    const position = segment.position + skipped;
    const oldest = oldestOf(position, window);
    const rowCount = Math.min(TILE_ROWS, tokens.length - skipped);
    tiles.push([row + skipped, rowCount, firstCell + oldest, position - oldest]);
  }
}

/** Cells that its blocks load. */
function tileWork([, rowCount = 0, , before = 0]: readonly number[]): number {
  return before + rowCount;
}

function addRows(
  rows: VisibleCells[],
  list: number[],
  segment: StepSegment,
  firstRow: number,
  window: number | undefined,
): void {
  const { position, firstCell, parents } = segment;
  const depths = rowDepths(segment);
  for (let row = 0; row < depths.length; row++) {
    const depth = depths[row]!;
    const oldest = oldestOf(position + depth, window);
    const oldCount = Math.max(0, position - oldest);
    const branch = parents && branchCells(segment, row, depth, oldest);
    const newCount = branch?.length ?? position + row + 1 - oldest - oldCount;
    const listStart = branch ? list.length : NO_LIST;
    rows.push({ row: firstRow + row, first: firstCell + oldest, oldCount, newCount, listStart });
    if (branch) list.push(...branch);
  }
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

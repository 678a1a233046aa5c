/** How adapters' products are divided over blocks. Sums are split by the model's shape alone, so that batches never change them. */

import type { Grid } from './launch-configuration.ts';
import { SHARED_ROWS } from './row-groups.ts';

/** As the kernels of adapter-rows.cu and adapter-tiles.cu declare them: a thread has 8 numbers of the inner dimension, a warp 64 outputs. */
const BLOCK_THREADS = 128;
const BLOCK_INNER = 8 * BLOCK_THREADS;
const RANKS_AT_ONCE = 8;
const TILE_RANKS = 64;
const ROW_OUTPUTS = 256;
const TILE_OUTPUTS = 512;
const REPLACEMENT_WARPS = 8;
const WARP = 32;

/** Of the inner dimension: each is a block's work, and all are added up again by those who read them. */
const MOST_PARTS = 8;

/** Of blocks for one row and projection: further ranks are done by the same blocks. */
const MOST_RANK_BLOCKS = 8;

/** About what the largest device holds at once; beyond it blocks do more instead of being more. */
const ENOUGH_BLOCKS = 800;
const MOST_STEPS = 8;

/** So many uses of so many rows each, at most. */
interface Uses {
  readonly count: number;
  readonly rowsPerUse: number;
  readonly rankCapacity: number;
}

/** The inner dimension in parts. */
export interface InnerParts {
  readonly count: number;
  readonly length: number;
}

export function divideInner(inFeatures: number): InnerParts {
  const length = Math.ceil(inFeatures / MOST_PARTS / BLOCK_INNER) * BLOCK_INNER;
  return { count: Math.ceil(inFeatures / length), length };
}

/** Blocks over the outputs of several projections, one after the other. */
export interface OutputGrid {
  readonly outputsPerBlock: number;
  readonly grid: Grid;
}

export function shrinkRowsGrid(parts: InnerParts, projectionCount: number, { count, rankCapacity }: Uses): Grid {
  const rankBlocks = Math.min(MOST_RANK_BLOCKS, rankCapacity / RANKS_AT_ONCE);
  return { blocks: [parts.count, count, projectionCount * rankBlocks], threads: BLOCK_THREADS };
}

export function shrinkTilesGrid(parts: InnerParts, projectionCount: number, { count, rankCapacity }: Uses): Grid {
  const rankBlocks = Math.ceil((projectionCount * rankCapacity) / TILE_RANKS);
  return { blocks: [parts.count, count, rankBlocks], threads: BLOCK_THREADS };
}

export function expandRowsGrid(widths: readonly number[], { count }: Uses): OutputGrid {
  const blocks = countBlocks(widths, ROW_OUTPUTS) * count;
  const steps = Math.min(MOST_STEPS, Math.ceil(blocks / ENOUGH_BLOCKS));
  return outputGrid(widths, steps * ROW_OUTPUTS, count);
}

export function expandTilesGrid(widths: readonly number[], { count }: Uses): OutputGrid {
  return outputGrid(widths, TILE_OUTPUTS, count);
}

/** A warp for each output of each four rows. */
export function replaceRowsGrid(widths: readonly number[], { count, rowsPerUse }: Uses): Grid {
  const blocks = [countBlocks(widths, REPLACEMENT_WARPS), count, Math.ceil(rowsPerUse / SHARED_ROWS)] as const;
  return { blocks, threads: REPLACEMENT_WARPS * WARP };
}

/** A thread for each output of each row. */
export function embedGrid(hiddenSize: number, { count, rowsPerUse }: Uses): Grid {
  return { blocks: [Math.ceil(hiddenSize / BLOCK_THREADS), count, rowsPerUse], threads: BLOCK_THREADS };
}

/** Of the slab of shrunk rows, `[use, row of the use, projection, part, rank]`. */
export function shrunkLength(parts: InnerParts, projectionCount: number, uses: Uses): number {
  return uses.count * uses.rowsPerUse * projectionCount * parts.count * uses.rankCapacity;
}

function outputGrid(widths: readonly number[], outputsPerBlock: number, useCount: number): OutputGrid {
  const blocks = [countBlocks(widths, outputsPerBlock), useCount] as const;
  return { outputsPerBlock, grid: { blocks, threads: BLOCK_THREADS } };
}

function countBlocks(widths: readonly number[], outputsPerBlock: number): number {
  return widths.reduce((sum, width) => sum + Math.ceil(width / outputsPerBlock), 0);
}

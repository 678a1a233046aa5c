/** How adapters' products are divided over blocks. Sums are split by the model's shape alone, so that batches never change them. */

import type { Grid } from './launch-configuration.ts';
import { SHARED_ROWS } from './row-groups.ts';

/** As the kernels of adapters' products declare them: a thread has 8 numbers of the inner dimension. */
const ROW_SHRINK_THREADS = 256;
const BLOCK_THREADS = 128;
const THREAD_INNER = 8;
const TILE_RANKS = 64;
const TILE_OUTPUTS = 512;
const REPLACEMENT_WARPS = 8;
const WARP = 32;

/** Of the inner dimension: each is a block's work, and all are added up again by those who read them. */
const MOST_PARTS = 8;

/** That the shares of some rows' adapter divide among them: more, up to all that their threads load at once, where there are enough blocks. */
const FEWEST_ROW_OUTPUTS = 256;

/** How far blocks over outputs of rows grow, and how many are enough. */
interface RowBlocks {
  readonly mostOutputs: number;
  readonly enough: number;
}

/** About what the largest device holds at once; beyond it blocks do more instead of being more. */
const ENOUGH_BLOCKS = 800;
const LAST: RowBlocks = { mostOutputs: 1024, enough: ENOUGH_BLOCKS };
/** Those of a product that streams find room beside so many, and have its matrix brought meanwhile. */
const BEFORE_STREAM: RowBlocks = { mostOutputs: 2048, enough: 264 };
const MOST_STEPS = 8;

/** So many uses of so many rows each, at most, or shares of uses. */
interface Uses {
  readonly count: number;
  readonly rowsPerUse: number;
  /** Of each, in the slab of shrunk rows. */
  readonly ranksPerUse: number;
}

/** The inner dimension in parts. */
export interface InnerParts {
  readonly count: number;
  readonly length: number;
}

export function rowParts(inFeatures: number): InnerParts {
  return divideInner(inFeatures, ROW_SHRINK_THREADS * THREAD_INNER);
}

export function tileParts(inFeatures: number): InnerParts {
  return divideInner(inFeatures, BLOCK_THREADS * THREAD_INNER);
}

/** Blocks over the outputs of several projections, one after the other. */
export interface OutputGrid {
  readonly outputsPerBlock: number;
  readonly grid: Grid;
}

export function shrinkRowsGrid(parts: InnerParts, projectionCount: number, { count }: Uses): Grid {
  return { blocks: [parts.count, count, projectionCount], threads: ROW_SHRINK_THREADS };
}

export function shrinkTilesGrid(parts: InnerParts, projectionCount: number, { count, ranksPerUse }: Uses): Grid {
  const rankBlocks = Math.ceil((projectionCount * ranksPerUse) / TILE_RANKS);
  return { blocks: [parts.count, count, rankBlocks], threads: BLOCK_THREADS };
}

/** The shares of some rows' first adapter divide a block's outputs. */
export function expandRowsGrid(widths: readonly number[], { count }: Uses, isBeforeStream: boolean): OutputGrid {
  const { mostOutputs, enough } = isBeforeStream ? BEFORE_STREAM : LAST;
  let outputs = FEWEST_ROW_OUTPUTS;
  while (outputs < mostOutputs && countBlocks(widths, outputs) * count > enough) outputs *= 2;
  return outputGrid(widths, outputs, count);
}

export function expandTilesGrid(widths: readonly number[], { count }: Uses): OutputGrid {
  return outputGrid(widths, TILE_OUTPUTS, count);
}

/** A warp for an output of four rows at a time. */
export function replaceRowsGrid(widths: readonly number[], { count, rowsPerUse }: Uses): OutputGrid {
  const steps = Math.ceil((countBlocks(widths, REPLACEMENT_WARPS) * count) / ENOUGH_BLOCKS);
  const outputsPerBlock = REPLACEMENT_WARPS * Math.min(MOST_STEPS, steps);
  const blocks = [countBlocks(widths, outputsPerBlock), count, Math.ceil(rowsPerUse / SHARED_ROWS)] as const;
  return { outputsPerBlock, grid: { blocks, threads: REPLACEMENT_WARPS * WARP } };
}

/** A thread for each output of each row. */
export function embedGrid(hiddenSize: number, { count, rowsPerUse }: Uses): Grid {
  return { blocks: [Math.ceil(hiddenSize / BLOCK_THREADS), count, rowsPerUse], threads: BLOCK_THREADS };
}

/** Of the slab of shrunk rows, `[use or share, row, projection, part, rank]`. */
export function shrunkLength(parts: InnerParts, projectionCount: number, uses: Uses): number {
  return uses.count * uses.rowsPerUse * projectionCount * parts.count * uses.ranksPerUse;
}

function divideInner(inFeatures: number, blockInner: number): InnerParts {
  const length = Math.ceil(inFeatures / MOST_PARTS / blockInner) * blockInner;
  return { count: Math.ceil(inFeatures / length), length };
}

function outputGrid(widths: readonly number[], outputsPerBlock: number, useCount: number): OutputGrid {
  const blocks = [countBlocks(widths, outputsPerBlock), useCount] as const;
  return { outputsPerBlock, grid: { blocks, threads: BLOCK_THREADS } };
}

function countBlocks(widths: readonly number[], outputsPerBlock: number): number {
  return widths.reduce((sum, width) => sum + Math.ceil(width / outputsPerBlock), 0);
}

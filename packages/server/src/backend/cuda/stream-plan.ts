/** How products whose matrix streams through shared memory are divided over blocks. Pure arithmetic, of shapes alone. */

import type { KernelName } from './kernel-files.ts';
import type { Grid } from './launch-configuration.ts';

/** As stream.cuh declares them. */
export const CHUNK_INPUTS = 64;
export const OCTET = 8;
const UNIT_ROWS = 16;
const ROW_BYTES = 2 * CHUNK_INPUTS;
const TILE_BYTES = 64 * ROW_BYTES;
const THREADS = 288;
const WARPGROUPS = 2;
const MULTIPLIERS = 256;
const MOST_STAGES = 16;

/** Before the stages: barriers, and what is lost to alignment. */
const HEAD_BYTES = 2048;
/** Of a block: less than a multiprocessor of Hopper's has, so that a norm or rotation finds room beside it. */
const SHARED_BYTES = 220 * 1024;

/** Rows of the matrix that a pair of blocks has in one pass; of more, single blocks read their activations alone. */
const PAIR_ROWS = 128;

export interface StreamShape {
  /** Rows of activations. */
  readonly columns: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** The matrix has twice as many rows: gates, and what they let through. */
  readonly isGated: boolean;
}

export interface StreamPlan {
  readonly kernel: KernelName;
  readonly grid: Grid;
  /** Of which each has half of the inputs. */
  readonly isInPairs: boolean;
  /** Rows of activations that are brought at once; zeros where there are fewer. */
  readonly boxColumns: number;
  /** Rows of the matrix that are brought at once, in eights. */
  readonly boxOctets: number;
  /** Of 16 rows: what a block, or a pair of them, computes at a time. */
  readonly passUnits: number;
  readonly stageCount: number;
}

interface Variant {
  readonly columns: number;
  readonly alone: KernelName;
  readonly inPairs: KernelName;
}

const VARIANTS: readonly Variant[] = [
  { columns: 8, alone: 'stream_8', inPairs: 'stream_in_pairs_8' },
  { columns: 32, alone: 'stream_32', inPairs: 'stream_in_pairs_32' },
  { columns: 64, alone: 'stream_64', inPairs: 'stream_in_pairs_64' },
];

const MOST_COLUMNS = 64;

/** Whether the copy engine can count the matrix's rows in eights, and find each row. */
export function fitsStream({ columns, inFeatures, outFeatures }: Omit<StreamShape, 'isGated'>): boolean {
  return columns <= MOST_COLUMNS && inFeatures % OCTET === 0 && outFeatures % OCTET === 0;
}

/** Of a shape that can stream. Sums are divided by the matrix's shape alone, so that rows are the same in every batch. */
export function planStream(shape: StreamShape, multiprocessorCount: number): StreamPlan {
  const { inFeatures, outFeatures, isGated } = shape;
  const variant = VARIANTS.find(({ columns }) => shape.columns <= columns)!;
  const mostPairs = Math.floor(multiprocessorCount / 2);
  const fitsPairs = outFeatures <= PAIR_ROWS * mostPairs && inFeatures >= 2 * CHUNK_INPUTS;
  const isInPairs = !isGated && fitsPairs;
  const share = isInPairs ? 2 : 1;
  const units = Math.ceil((outFeatures * (isGated ? 2 : 1)) / UNIT_ROWS);
  const clusters = Math.min(Math.floor(multiprocessorCount / share), units);
  const tiles = isInPairs ? 1 : 2;
  const mostUnits = (tiles * WARPGROUPS * TILE_BYTES) / (UNIT_ROWS * ROW_BYTES);
  const each = Math.ceil(units / clusters);
  const passUnits = Math.ceil(each / Math.ceil(each / mostUnits));
  const stageBytes = (passUnits * UNIT_ROWS + variant.columns) * ROW_BYTES;
  // The tensor cores read whole tiles, beyond the last stage's units too.
  const given = isInPairs ? MULTIPLIERS * variant.columns : 0;
  const tailBytes = Math.max(given, tiles * WARPGROUPS * TILE_BYTES - stageBytes);
  const stageCount = Math.min(MOST_STAGES, Math.floor((SHARED_BYTES - HEAD_BYTES - tailBytes) / stageBytes));
  const sharedBytes = HEAD_BYTES + tailBytes + stageCount * stageBytes;
  return {
    kernel: isInPairs ? variant.inPairs : variant.alone,
    grid: { blocks: [clusters * share], threads: THREADS, sharedBytes },
    boxColumns: variant.columns,
    boxOctets: (passUnits * UNIT_ROWS) / OCTET,
    ...{ isInPairs, passUnits, stageCount },
  };
}

/**
 * Attention of one layer, given to a program: which kernels look at which rows, and with how many blocks. Knows no model, and
 * of the step only its tables.
 */

import { assert } from '../../base/assert.ts';
import type { AttentionShape } from '../backend.ts';
import type { KvTypes } from '../kv.ts';
import { TILE_ROWS } from './attention-plan.ts';
import type { KernelName } from './kernel-files.ts';
import type { CudaKvStore } from './kv-store.ts';
import type { Grid } from './launch-configuration.ts';
import type { LateArgument, Program } from './program.ts';
import { Rounding } from './rounding.ts';
import type { RowDevice } from './row-operations.ts';
import type { AttentionTables, StepInputs } from './step-inputs.ts';
import { elementsOf, FLOAT_BYTES, newValue, type CudaValue } from './values.ts';

/** Of a block for tiles. */
const TILE_THREADS = 128;

/** That the kernel for shares fills a multiprocessor with. */
const BLOCKS_PER_MULTIPROCESSOR = 2;

/** As many numbers as 32 lanes of the kernel hold; no served family has larger heads. */
const LARGEST_HEAD = 256;

/** Numbers that a lane loads at once, of heads that are a multiple of so many. */
const LANE_NUMBERS = 8;

const WARP = 32;
/** Of a warp, that look at one cell together. */
const LANES = [8, 16, 32];

/** After a part's sums, its peak and total. */
const PART_EXTRA = 2;

/** No served family flattens its scores. */
const NO_SOFT_CAP = 0;

/** What a kernel takes for a window that is never full. */
const WHOLE = 2 ** 31 - 1;

const HALF_BYTES = 2;
const CHUNK_BYTES = 16;
/** Cells of two turns' keys and values, beside the queries of a tile. */
const TILE_CELLS = 4 * 64;

interface KernelVariant {
  readonly name: KernelName;
  /** Of a block. */
  readonly threads: number;
}

export interface ShareKernel extends KernelVariant {
  /** Query heads of one key head that a block looks at together. */
  readonly heads: number;
  /** Instead of it, where there are so many blocks that they wait for room. */
  readonly many?: KernelVariant;
}

/** Blocks for each multiprocessor that are many. */
const MANY_BLOCKS = 3.5;

const FLOAT16_KERNELS: readonly ShareKernel[] = [
  { name: 'attend_float16_1', heads: 1, threads: 256 },
  { name: 'attend_float16_2', heads: 2, threads: 256 },
  { name: 'attend_float16_4', heads: 4, threads: 256, many: { name: 'attend_float16_4_many', threads: 128 } },
  { name: 'attend_float16_8', heads: 8, threads: 128 },
];

const FLOAT32_KERNELS: readonly ShareKernel[] = [
  { name: 'attend_float32_1', heads: 1, threads: 256 },
  { name: 'attend_float32_4', heads: 4, threads: 128 },
];

const ANY_KERNELS: readonly ShareKernel[] = [{ name: 'attend_any', heads: 4, threads: 128 }];

/** By the size of a head. */
const TILE_KERNELS: Readonly<Record<number, KernelName>> = {
  64: 'attend_tiles_64',
  80: 'attend_tiles_80',
  96: 'attend_tiles_96',
  128: 'attend_tiles_128',
};

/** One layer's attention as its kernels need it. `q` is dense. */
interface LayerAttention {
  readonly program: Program;
  readonly kv: CudaKvStore;
  readonly shape: AttentionShape;
  readonly q: CudaValue;
  /** `y`, and `y` in 16 bits. */
  readonly outputs: readonly LateArgument[];
}

/** Each row of `q` sees what the step's tables say. Keys and values are in their cells by now. */
export function attend(
  { program, precision }: RowDevice,
  inputs: StepInputs,
  kv: CudaKvStore,
  q: CudaValue,
  shape: AttentionShape,
): CudaValue {
  const { headCount, kvHeadCount, headDim, window } = shape;
  assert(headDim <= LARGEST_HEAD, `heads of ${headDim} fit the attention kernel`);
  const { types } = kv.shape;
  const kernel = shareKernel(shape, types);
  const blocksPerShare = kvHeadCount * Math.ceil(headCount / kvHeadCount / kernel.heads);
  // Tiles round queries and weights to float16.
  const usesTiles = inputs.comesOnce && precision === 'medium' && tileKernel(headDim, types) !== undefined;
  const enoughBlocks = program.device.properties.multiprocessorCount * BLOCKS_PER_MULTIPROCESSOR;
  const tables = inputs.attention({ window, blocksPerShare, enoughBlocks, usesTiles });
  const y = newValue(program, q.width, inputs.rows);
  const rounding = new Rounding(program, elementsOf(y));
  const layer = { program, kv, shape, q, outputs: [{ optional: y.slab }, ...rounding.arguments, q.rows] };
  const operations: number[] = [];
  if (tables.tileCount > 0) operations.push(attendTiles(layer, tables));
  if (tables.shareCount > 0) operations.push(attendShares(layer, tables, kernel, blocksPerShare));
  rounding.writtenBy(operations[0]!);
  return { ...y, rounding };
}

export function shareKernel({ headCount, kvHeadCount, headDim }: AttentionShape, types: KvTypes): ShareKernel {
  const kernels = shareKernels(headDim, types);
  return kernels.find(({ heads }) => heads >= headCount / kvHeadCount) ?? kernels.at(-1)!;
}

/** What a kernel is launched as, where rows make so many blocks for each multiprocessor. */
export function variantFor(kernel: ShareKernel, blocksEach: number): KernelVariant {
  return (blocksEach >= MANY_BLOCKS ? kernel.many : undefined) ?? kernel;
}

function shareKernels(headDim: number, { key, value }: KvTypes): readonly ShareKernel[] {
  if (headDim % LANE_NUMBERS !== 0) return ANY_KERNELS;
  if (key === 'float32') return FLOAT32_KERNELS;
  return value === 'float16' ? FLOAT16_KERNELS : ANY_KERNELS;
}

/** Undefined where no kernel takes prompts in tiles. */
export function tileKernel(headDim: number, { key, value }: KvTypes): KernelName | undefined {
  return key === 'float16' && value === 'float16' ? TILE_KERNELS[headDim] : undefined;
}

function attendTiles(
  { program, kv, shape, q, outputs }: LayerAttention,
  { tiles, tileCount }: AttentionTables,
): number {
  const { headCount, kvHeadCount, headDim, scale, layer, window } = shape;
  return program.launch(
    ...([TILE_KERNELS[headDim]!, tileGrid(headDim, headCount, tileCount)] as const),
    ...([...outputs, q, q.width, kv.keys.layer(layer), kv.values.layer(layer), tiles] as const),
    ...[headCount, kvHeadCount, window ?? WHOLE, scale, NO_SOFT_CAP],
  );
}

function attendShares(
  { program, kv: { keys, values }, shape, q, outputs }: LayerAttention,
  { shares, shareCount, list, counters, partCount }: AttentionTables,
  kernel: ShareKernel,
  blocksPerShare: number,
): number {
  const { headCount, kvHeadCount, headDim, scale, layer } = shape;
  const { multiprocessorCount } = program.device.properties;
  const variant = variantFor(kernel, (q.rows * blocksPerShare) / multiprocessorCount);
  const partials = program.claim(partCount * headCount * (headDim + PART_EXTRA) * FLOAT_BYTES);
  return program.launch(
    ...([variant.name, shareGrid(headDim, kernel.heads, variant, shareCount * blocksPerShare)] as const),
    ...([
      ...outputs,
      q,
      q.width,
      keys.layer(layer),
      keys.elementType,
      values.layer(layer),
      values.elementType,
    ] as const),
    ...([shares, list, partials, counters, headCount, kvHeadCount, headDim, scale, NO_SOFT_CAP] as const),
  );
}

/** With room for what each warp has of each head, of which lanes hold 64, 128 or 256 numbers. */
export function shareGrid(headDim: number, heads: number, { threads }: KernelVariant, blockCount: number): Grid {
  const held = LANES.map((lanes) => lanes * LANE_NUMBERS).find((numbers) => numbers >= headDim)!;
  return { blocks: [blockCount], threads, sharedBytes: (threads / WARP) * heads * held * FLOAT_BYTES };
}

/** A block for each head and tile, with room for its queries and for two turns' keys and values. */
export function tileGrid(headDim: number, headCount: number, tileCount: number): Grid {
  const chunks = (headDim * HALF_BYTES) / CHUNK_BYTES;
  // As the kernel lays out rows in shared memory.
  const rowBytes = (chunks % 8 === 0 ? chunks : chunks + 1) * CHUNK_BYTES;
  return { blocks: [headCount, tileCount], threads: TILE_THREADS, sharedBytes: (TILE_ROWS + TILE_CELLS) * rowBytes };
}

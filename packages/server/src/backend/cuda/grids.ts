/** How many threads the kernels of rows.cu and loading.cu take for what they compute. Pure. */

import type { Grid } from './launch-configuration.ts';

const BLOCK_THREADS = 256;
const NORM_THREADS = 512;
const WARP = 32;

/** A thread for each of `count` elements. */
export function perElement(count: number): Grid {
  return { blocks: [Math.ceil(count / BLOCK_THREADS)], threads: BLOCK_THREADS };
}

/** A block for each of `count` rows of `width` elements. */
export function perRow(count: number, width: number): Grid {
  return { blocks: [count], threads: Math.min(BLOCK_THREADS, Math.ceil(width / WARP) * WARP) };
}

/** A block for each of `count` norms over `size` elements: of as many threads as find room beside the products around it. */
export function perNorm(count: number, size: number): Grid {
  return { blocks: [count], threads: Math.min(NORM_THREADS, Math.ceil(size / WARP) * WARP) };
}

/** A block for each head of each row, with a thread for each of `count` results. */
export function perHead(rows: number, headCount: number, count: number): Grid {
  return { blocks: [rows, headCount], threads: Math.min(BLOCK_THREADS, Math.ceil(count / WARP) * WARP) };
}

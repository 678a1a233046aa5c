/**
 * Which kernels there are, file by file: the table says what each takes, the files say what they do. Knows no compiler and no
 * card.
 */

import { readFileSync } from 'node:fs';
import { isHopper, type Architecture } from './architecture.ts';
import type { Signature } from './launch-parameters.ts';
import type { KernelSource } from './nvrtc.ts';

/** Not copied by the compiler of TypeScript, so that they are read where they were written. */
const FOLDER = new URL('../../../src/backend/cuda/kernels/', import.meta.url);

const HEADERS = [
  ...['elements.cuh', 'adapters.cuh', 'adapter-rows.cuh', 'copy-engine.cuh', 'warpgroup.cuh'],
  ...['stream.cuh', 'streamed-stages.cuh', 'streamed-product.cuh', 'attention-loads.cuh', 'attention-sums.cuh'],
];

/** Files that take long to compile come first: a long one that begins last would keep all others waiting. */
export const KERNEL_FILES = {
  'adapter-tiles.cu': { shrink_tiles: 'ppipiiiiiiiii', expand_tiles: 'ppiiiipiiipiiipiiipiii' },
  'streamed-products.cu': {
    stream_8: 'mmippiiiiiipifpp',
    stream_32: 'mmippiiiiiipifpp',
    stream_64: 'mmippiiiiiipifpp',
  },
  'expand-rows.cu': {
    expand_rows_1: 'ppiiiipiiipiiipiiipiii',
    expand_rows_2: 'ppiiiipiiipiiipiiipiii',
    expand_rows_4: 'ppiiiipiiipiiipiiipiii',
  },
  'attention.cu': {
    move_cells: 'ppipi',
    attend_float16_1: 'ppiiipipipippppiiiff',
    attend_float16_2: 'ppiiipipipippppiiiff',
    attend_float16_4: 'ppiiipipipippppiiiff',
    attend_float16_4_many: 'ppiiipipipippppiiiff',
    attend_float16_8: 'ppiiipipipippppiiiff',
    attend_float32_1: 'ppiiipipipippppiiiff',
    attend_float32_4: 'ppiiipipipippppiiiff',
    attend_any: 'ppiiipipipippppiiiff',
  },
  'streamed-pairs.cu': {
    stream_in_pairs_8: 'mmippiiiiipifppppp',
    stream_in_pairs_32: 'mmippiiiiipifppppp',
    stream_in_pairs_64: 'mmippiiiiipifppppp',
  },
  'prompt-attention.cu': {
    attend_tiles_64: 'ppiiipipppiiiff',
    attend_tiles_80: 'ppiiipipppiiiff',
    attend_tiles_96: 'ppiiipipppiiiff',
    attend_tiles_128: 'ppiiipipppiiiff',
  },
  'shrink-rows.cu': {
    shrink_rows_1: 'ppiipiiiiii',
    shrink_rows_2: 'ppiipiiiiii',
    shrink_rows_4: 'ppiipiiiiii',
  },
  'sampling.cu': {
    scan_chunks: 'ppii',
    best_tokens: 'pppii',
    cut_rows: 'ppppii',
    weigh_chunks: 'pppppii',
    draw_tokens: 'ppppppii',
  },
  'loading.cu': {
    convert_elements: 'pipii',
    check_elements: 'ppii',
    adapt_rows: 'pipppipipiifpi',
    square_rows: 'ppipipiifi',
  },
  'rows.cu': {
    embed_rows: 'ppipi',
    norm_rows: 'ppiippipipiif',
    rotate_and_store: 'ppipipipipipppiiif',
    add_rows: 'pppi',
    add_bias: 'pipii',
    silu_rows: 'ppi',
    gated_silu: 'ppiipipiii',
    gather_rows: 'pppii',
    add_to_heads: 'pppiii',
    place_columns: 'pipiiii',
  },
  'few-rows.cu': { multiply_few_float16: 'pppiiii', multiply_few_bfloat16: 'pppiiii' },
  'adapter-weights.cu': { replace_rows: 'pipiipiiipiiipiiipiii', embed_adapters: 'pippiii' },
  'exchange.cu': { sum_over_cards: 'pippiipppppi', gather_over_cards: 'ppippiiiiiiiiii' },
  'products.cu': { round_activations: 'piipiii', join_halves: 'ppi' },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Signature>>>>;

/** Of instructions that no other architecture has. */
const HOPPER_FILES: readonly KernelFile[] = ['streamed-products.cu', 'streamed-pairs.cu'];

export type KernelFile = keyof typeof KERNEL_FILES;
export type KernelName = { [File in KernelFile]: keyof (typeof KERNEL_FILES)[File] }[KernelFile];

/** Those that there are for an architecture. */
export function kernelFiles(architecture: Architecture): KernelFile[] {
  const files = Object.keys(KERNEL_FILES) as KernelFile[];
  return files.filter((file) => isHopper(architecture) || !HOPPER_FILES.includes(file));
}

export function readKernelSource(name: string): KernelSource {
  const read = (file: string): string => readFileSync(new URL(file, FOLDER), 'utf8');
  return { name, text: read(name), headers: Object.fromEntries(HEADERS.map((header) => [header, read(header)])) };
}

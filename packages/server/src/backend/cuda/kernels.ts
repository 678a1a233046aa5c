/**
 * Our kernels on one device: compiled at first start, kept on disk, launched by name. The table below says what each takes;
 * the files say what they do.
 */

import { readFileSync } from 'node:fs';
import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';
import { LaunchConfiguration, type Grid } from './launch-configuration.ts';
import { LaunchParameters, type Argument, type Signature } from './launch-parameters.ts';
import type { CudaLibraries } from './libraries.ts';
import { ModuleCache } from './module-cache.ts';
import { compileKernels, nvrtcVersion, type KernelSource } from './nvrtc.ts';

/** Not copied by the compiler of TypeScript, so that they are read where they were written. */
const FOLDER = new URL('../../../src/backend/cuda/kernels/', import.meta.url);

const HEADERS = [
  ...['elements.cuh', 'adapters.cuh', 'adapter-rows.cuh', 'copy-engine.cuh', 'warpgroup.cuh'],
  ...['stream.cuh', 'streamed-stages.cuh', 'streamed-product.cuh', 'attention-loads.cuh', 'attention-sums.cuh'],
];

export const KERNEL_FILES = {
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
  'streamed-products.cu': {
    stream_8: 'mmippiiiiiipifpp',
    stream_32: 'mmippiiiiiipifpp',
    stream_64: 'mmippiiiiiipifpp',
  },
  'streamed-pairs.cu': {
    stream_in_pairs_8: 'mmippiiiiipifppppp',
    stream_in_pairs_32: 'mmippiiiiipifppppp',
    stream_in_pairs_64: 'mmippiiiiipifppppp',
  },
  'exchange.cu': { sum_over_cards: 'pippiipppppi', gather_over_cards: 'ppippiiiiiiiiii' },
  'products.cu': { round_activations: 'piipiii', join_halves: 'ppi' },
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
  'expand-rows.cu': {
    expand_rows_1: 'ppiiiipiiipiiipiiipiii',
    expand_rows_2: 'ppiiiipiiipiiipiiipiii',
    expand_rows_4: 'ppiiiipiiipiiipiiipiii',
  },
  'adapter-tiles.cu': { shrink_tiles: 'ppipiiiiiiiii', expand_tiles: 'ppiiiipiiipiiipiiipiii' },
  'adapter-weights.cu': { replace_rows: 'pipiipiiipiiipiiipiii', embed_adapters: 'pippiii' },
  'loading.cu': {
    convert_elements: 'pipii',
    check_elements: 'ppii',
    adapt_rows: 'pipppipipiifpi',
    square_rows: 'ppipipiifi',
  },
  'sampling.cu': {
    scan_chunks: 'ppii',
    best_tokens: 'pppii',
    cut_rows: 'ppppii',
    weigh_chunks: 'pppppii',
    draw_tokens: 'ppppppii',
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Signature>>>>;

/** Of instructions that no other architecture has. */
const HOPPER_FILES: readonly string[] = ['streamed-products.cu', 'streamed-pairs.cu'] satisfies KernelFile[];

type KernelFile = keyof typeof KERNEL_FILES;
export type KernelName = { [File in KernelFile]: keyof (typeof KERNEL_FILES)[File] }[KernelFile];

/** Compute capability: 9 and 0 for Hopper. */
export interface Architecture {
  readonly major: number;
  readonly minor: number;
}

/** Of memory that the threads of a block share, without asking for more. */
const SHARED_BYTES = 48 * 1024;
/** `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` */
const MAX_SHARED_BYTES = 8;

/** From Hopper on. */
const FIRST_OVERLAPPING = 9;

type KernelLibraries = Pick<CudaLibraries, 'driver' | 'nvrtc'>;

interface Kernel {
  readonly handle: Pointer;
  readonly signature: Signature;
  /** That it may be launched with. */
  sharedBytes: number;
}

export class Kernels {
  readonly #driver: Driver;
  readonly #modules: Pointer[] = [];
  readonly #kernels = new Map<string, Kernel>();
  readonly #parameters = new LaunchParameters();
  readonly #configuration: LaunchConfiguration;

  /** Throws ENGINE_LIBRARY where a file does not compile. */
  constructor({ driver, nvrtc }: KernelLibraries, architecture: Architecture, cacheFolder: string) {
    this.#driver = driver;
    this.#configuration = new LaunchConfiguration(architecture.major >= FIRST_OVERLAPPING);
    const cache = new ModuleCache(cacheFolder);
    const options = [`--gpu-architecture=${compileTarget(architecture)}`, '--std=c++17'];
    const compilerVersion = nvrtcVersion(nvrtc);
    try {
      for (const [name, signatures] of Object.entries(KERNEL_FILES)) {
        if (HOPPER_FILES.includes(name) && !isHopper(architecture)) continue;
        const source = readKernelSource(name);
        const code = cache.get({ source, options, compilerVersion }, () => compileKernels(nvrtc, source, options));
        this.#load(name, code, signatures);
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Addresses are bigints; the others are what the kernel's signature says. */
  launch(stream: Pointer, name: KernelName, grid: Grid, ...args: Argument[]): void {
    const kernel = this.#kernels.get(name)!;
    const { handle, signature } = kernel;
    if (grid.sharedBytes !== undefined) this.#allowShared(kernel, grid.sharedBytes);
    this.#parameters.pack(signature, args);
    const configuration = this.#configuration.describe(stream, grid);
    requireSuccess(this.#driver.launch(configuration, handle, this.#parameters.places, null), `kernel ${name}`);
  }

  dispose(): void {
    for (const module of this.#modules) this.#driver.moduleUnload(module);
    if (this.#modules.length > 0) countHandle('cuda kernels', -1);
  }

  #allowShared(kernel: Kernel, bytes: number): void {
    if (bytes <= kernel.sharedBytes) return;
    const result = this.#driver.functionAttribute(kernel.handle, MAX_SHARED_BYTES, bytes);
    requireSuccess(result, `${bytes} bytes of shared memory`);
    kernel.sharedBytes = bytes;
  }

  #load(file: string, code: Uint8Array, signatures: Readonly<Record<string, Signature>>): void {
    const module = new BigUint64Array(1);
    requireSuccess(this.#driver.moduleLoad(module, code), `loading ${file}`);
    if (this.#modules.length === 0) countHandle('cuda kernels', 1);
    this.#modules.push(module[0]!);
    for (const [name, signature] of Object.entries(signatures)) {
      const handle = new BigUint64Array(1);
      requireSuccess(this.#driver.moduleFunction(handle, module[0]!, name), `kernel ${name}`);
      this.#kernels.set(name, { handle: handle[0]!, signature, sharedBytes: SHARED_BYTES });
    }
  }
}

export function isHopper({ major, minor }: Architecture): boolean {
  return major === 9 && minor === 0;
}

export function architectureName({ major, minor }: Architecture): string {
  return `sm_${major}${minor}`;
}

/** What kernels are compiled for: Hopper with what only it has. */
function compileTarget(architecture: Architecture): string {
  return `${architectureName(architecture)}${isHopper(architecture) ? 'a' : ''}`;
}

export function readKernelSource(name: string): KernelSource {
  const read = (file: string): string => readFileSync(new URL(file, FOLDER), 'utf8');
  return { name, text: read(name), headers: Object.fromEntries(HEADERS.map((header) => [header, read(header)])) };
}

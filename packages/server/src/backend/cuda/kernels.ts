/**
 * Our kernels on one device: compiled at first start, kept on disk, launched by name. The table below says what each takes;
 * the files say what they do.
 */

import { readFileSync } from 'node:fs';
import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';
import { LaunchParameters, type Argument, type Signature } from './launch-parameters.ts';
import type { CudaLibraries } from './libraries.ts';
import { ModuleCache } from './module-cache.ts';
import { compileKernels, nvrtcVersion, type KernelSource } from './nvrtc.ts';

/** Not copied by the compiler of TypeScript, so that they are read where they were written. */
const FOLDER = new URL('../../../src/backend/cuda/kernels/', import.meta.url);

const HEADER = 'elements.cuh';

export const KERNEL_FILES = {
  'rows.cu': {
    embed_rows: 'ppipi',
    rms_norm: 'pppif',
    rotate_rows: 'ppppiif',
    add_rows: 'pppi',
    add_bias: 'ppii',
    silu_rows: 'ppi',
    gated_silu: 'pppi',
    gather_rows: 'pppii',
    add_to_heads: 'pppiii',
  },
  'products.cu': { round_activations: 'ppii', split_activations: 'ppii', join_halves: 'ppi' },
  'attention.cu': { write_cells: 'pipipppi', move_cells: 'ppipi', attend_cells: 'pppipippiiif' },
  'adapters.cu': {
    shrink_rows: 'pppiii',
    replace_rows: 'pppiii',
    expand_rows: 'ppppiii',
    embed_adapters: 'ppppiii',
  },
  'loading.cu': { convert_elements: 'pipii', check_elements: 'ppii', adapt_rows: 'pipppipipiifpi' },
  'reductions.cu': { best_tokens: 'pppi' },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Signature>>>>;

type KernelFile = keyof typeof KERNEL_FILES;
export type KernelName = { [File in KernelFile]: keyof (typeof KERNEL_FILES)[File] }[KernelFile];

/** Blocks in up to two dimensions, and threads a block. */
export interface Grid {
  readonly blocks: readonly [x: number, y?: number];
  readonly threads: number;
}

interface Kernel {
  readonly handle: Pointer;
  readonly signature: Signature;
}

export class Kernels {
  readonly #driver: Driver;
  readonly #modules: Pointer[] = [];
  readonly #kernels = new Map<string, Kernel>();
  readonly #parameters = new LaunchParameters();

  /** `architecture` as in `sm_90`. Throws ENGINE_LIBRARY where a file does not compile. */
  constructor({ driver, nvrtc }: Pick<CudaLibraries, 'driver' | 'nvrtc'>, architecture: string, cacheFolder: string) {
    this.#driver = driver;
    const cache = new ModuleCache(cacheFolder);
    const options = compileOptions(architecture);
    const compilerVersion = nvrtcVersion(nvrtc);
    for (const [name, signatures] of Object.entries(KERNEL_FILES)) {
      const source = readKernelSource(name);
      const code = cache.get({ source, options, compilerVersion }, () => compileKernels(nvrtc, source, options));
      this.#load(name, code, signatures);
    }
  }

  /** Addresses are bigints; the others are what the kernel's signature says. */
  launch(stream: Pointer, name: KernelName, { blocks: [x, y = 1], threads }: Grid, ...args: Argument[]): void {
    const { handle, signature } = this.#kernels.get(name)!;
    this.#parameters.pack(signature, args);
    const result = this.#driver.launch(
      ...([handle, x, y, 1, threads, 1, 1, 0, stream, null, this.#parameters.extra] as const),
    );
    requireSuccess(result, `kernel ${name}`);
  }

  dispose(): void {
    for (const module of this.#modules) this.#driver.moduleUnload(module);
    countHandle('cuda kernels', -1);
  }

  #load(file: string, code: Uint8Array, signatures: Readonly<Record<string, Signature>>): void {
    const module = new BigUint64Array(1);
    requireSuccess(this.#driver.moduleLoad(module, code), `loading ${file}`);
    if (this.#modules.length === 0) countHandle('cuda kernels', 1);
    this.#modules.push(module[0]!);
    for (const [name, signature] of Object.entries(signatures)) {
      const handle = new BigUint64Array(1);
      requireSuccess(this.#driver.moduleFunction(handle, module[0]!, name), `kernel ${name}`);
      this.#kernels.set(name, { handle: handle[0]!, signature });
    }
  }
}

function compileOptions(architecture: string): string[] {
  return [`--gpu-architecture=${architecture}`, '--std=c++17'];
}

export function readKernelSource(name: string): KernelSource {
  const read = (file: string): string => readFileSync(new URL(file, FOLDER), 'utf8');
  return { name, text: read(name), headers: { [HEADER]: read(HEADER) } };
}

const BLOCK_THREADS = 256;
const WARP = 32;

/** A thread for each of `count` elements. */
export function perElement(count: number): Grid {
  return { blocks: [Math.ceil(count / BLOCK_THREADS)], threads: BLOCK_THREADS };
}

/** A block for each of `count` rows of `width` elements. */
export function perRow(count: number, width: number): Grid {
  return { blocks: [count], threads: Math.min(BLOCK_THREADS, Math.ceil(width / WARP) * WARP) };
}

/** A thread for each of `width` elements of each of `rows` rows. */
export function perRowElement(rows: number, width: number): Grid {
  return { blocks: [Math.ceil(width / BLOCK_THREADS), rows], threads: BLOCK_THREADS };
}

/** A warp for each of `each` results of each of `count` inputs. */
export function perWarp(count: number, each: number): Grid {
  return { blocks: [count, Math.ceil(each / (BLOCK_THREADS / WARP))], threads: BLOCK_THREADS };
}

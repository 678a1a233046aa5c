/** Logits of a step or draft on the device: reduced there, read row by row and only where asked. */

import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';
import type { Program, Slab } from './program.ts';
import { FLOAT_BYTES, type CudaValue } from './values.ts';

/** As the kernel's tree of comparisons needs it: a power of two. */
const REDUCTION_THREADS = 1024;

export interface BestSlabs {
  /** Int32 and float32 `[rows]`. */
  readonly ids: Slab;
  readonly logprobs: Slab;
}

/** The likeliest token of every row, kept for the reader. */
export function reduceRows(program: Program, logits: CudaValue): BestSlabs {
  const { rows, width } = logits;
  const ids = program.claim(rows * Int32Array.BYTES_PER_ELEMENT);
  const logprobs = program.claim(rows * FLOAT_BYTES);
  program.launch('best_tokens', { blocks: [rows], threads: REDUCTION_THREADS }, ids, logprobs, logits, width);
  program.keep(ids);
  program.keep(logprobs);
  return { ids, logprobs };
}

/** Rows of floats in the arena of the program that made them. */
export class DeviceRows {
  readonly address: Pointer;
  readonly width: number;
  readonly #driver: Driver;
  readonly #known = new Map<number, Float32Array>();

  constructor(driver: Driver, { slab, offset, width }: CudaValue) {
    this.#driver = driver;
    this.address = slab.address + BigInt(offset);
    this.width = width;
  }

  /** The same values to every caller. */
  row(index: number): Float32Array {
    const values = this.#known.get(index) ?? this.copyRow(index);
    this.#known.set(index, values);
    return values;
  }

  copyRow(index: number): Float32Array {
    const values = new Float32Array(this.width);
    return readInto(this.#driver, values, this.address + BigInt(index * values.byteLength));
  }
}

/** From the device, whose work on it must be done. */
export function readInto<T extends Float32Array | Int32Array>(driver: Driver, target: T, from: Pointer): T {
  requireSuccess(driver.copyToHost(target, from, target.byteLength), 'reading results');
  return target;
}

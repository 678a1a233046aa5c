/** Rows of a step's or draft's value, read from the device row by row and only where asked. */

import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';
import { requireDense, type CudaValue } from './values.ts';

/** In the arena of the program that made them. */
export class DeviceRows {
  readonly address: Pointer;
  readonly width: number;
  readonly #driver: Driver;
  readonly #known = new Map<number, Float32Array>();

  constructor(driver: Driver, value: CudaValue) {
    const { slab, offset, width } = requireDense(value);
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

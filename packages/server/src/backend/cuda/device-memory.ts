/** One piece of a device's memory. Holds; knows nothing about what lies in it. */

import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import { requireSuccess, type Driver } from './driver.ts';

export class DeviceMemory {
  readonly address: Pointer;
  readonly byteLength: number;
  readonly #driver: Driver;
  #isDisposed = false;

  /** Throws OUT_OF_MEMORY naming `what`. It holds whatever lay there before. */
  constructor(driver: Driver, byteLength: number, what: string) {
    const address = new BigUint64Array(1);
    requireSuccess(driver.allocate(address, byteLength), what);
    this.#driver = driver;
    this.address = address[0]!;
    this.byteLength = byteLength;
    countHandle('cuda memory', 1);
  }

  /** Waits for the device. A lost device frees everything by itself, so that its refusal is none of the caller's. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#driver.free(this.address);
    countHandle('cuda memory', -1);
  }
}

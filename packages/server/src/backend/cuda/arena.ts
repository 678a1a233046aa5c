/** A device's memory for one program after the other: grows, never shrinks. */

import type { Pointer } from '../../native/ffi.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { CudaDevice } from './device.ts';

export class Arena {
  readonly #device: CudaDevice;
  #memory: DeviceMemory | undefined;

  constructor(device: CudaDevice) {
    this.#device = device;
  }

  /** At least `byteLength` bytes; what lay there before may be gone. */
  reserve(byteLength: number, what: string): Pointer {
    if (this.#memory === undefined || this.#memory.byteLength < byteLength) {
      this.dispose();
      this.#memory = this.#device.allocate(byteLength, what);
    }
    return this.#memory.address;
  }

  dispose(): void {
    this.#memory?.dispose();
    this.#memory = undefined;
  }
}

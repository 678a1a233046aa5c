/**
 * A device whose memory is the host's and whose stream has done everything at once, with those of our kernels that put parts
 * of weights and results together. Knows nothing about what they are used for.
 */

import { assert, present } from '../../../base/assert.ts';
import { addressOf, copyBytes, viewMemory, type Pointer } from '../../../native/ffi.ts';
import type { DeviceMemory } from '../device-memory.ts';
import type { CudaDevice } from '../device.ts';
import { ELEMENT_TYPE } from '../element-types.ts';
import type { KernelName } from '../kernel-files.ts';

const FLOAT_BYTES = 4;

type Arguments = readonly (Pointer | number)[];

/** As kernels of that name compute, element by element. */
const KERNELS: Partial<Record<KernelName, (args: Arguments) => void>> = {
  add_rows: ([y, a, b, count]) => {
    const [left, right] = [floatsAt(a as Pointer, count as number), floatsAt(b as Pointer, count as number)];
    floatsAt(y as Pointer, count as number).set(left.map((value, i) => value + right[i]!));
  },
  place_columns: ([y, yStride, x, xStride, type, width, count]) => {
    assert(type === ELEMENT_TYPE.float32, 'floats are placed');
    const row = (start: unknown, stride: unknown, i: number): Float32Array =>
      floatsAt((start as Pointer) + BigInt(i * (stride as number) * FLOAT_BYTES), width as number);
    for (let i = 0; i * (width as number) < (count as number); i++) row(y, yStride, i).set(row(x, xStride, i));
  },
};

export class HostDevice {
  /** What parts of the backend ask of a device; whatever else they would ask is not there. */
  readonly device: CudaDevice;
  readonly #memory = new Map<Pointer, ArrayBuffer>();

  constructor() {
    const driver = {
      allocateHost: (address: BigUint64Array, bytes: number) => this.#answer(address, this.#take(bytes)),
      freeHost: () => 0,
      streamCreate: (handle: BigUint64Array) => this.#answer(handle, 1n),
      streamQuery: () => 0,
      streamDestroy: () => 0,
      copyToDevice: copyIn,
      copyOnDevice: copyIn,
    };
    const kernels = {
      launch: (_stream: Pointer, name: KernelName, _grid: unknown, ...args: Arguments) =>
        present(KERNELS[name], `the kernel ${name}`)(args),
    };
    const allocate = (byteLength: number): Pick<DeviceMemory, 'address' | 'byteLength' | 'dispose'> => {
      return { address: this.#take(byteLength), byteLength, dispose: () => undefined };
    };
    this.device = { driver, kernels, allocate } as unknown as CudaDevice;
  }

  #take(bytes: number): Pointer {
    const memory = new ArrayBuffer(bytes);
    const address = addressOf(memory);
    this.#memory.set(address, memory);
    return address;
  }

  #answer(target: BigUint64Array, value: bigint): number {
    target[0] = value;
    return 0;
  }
}

export function floatsAt(address: Pointer, count: number): Float32Array {
  return new Float32Array(viewMemory(address, count * FLOAT_BYTES));
}

function copyIn(to: Pointer, from: Pointer | NodeJS.ArrayBufferView, bytes: number): number {
  if (typeof from === 'bigint') copyBytes(to, from, bytes);
  else new Uint8Array(viewMemory(to, bytes)).set(new Uint8Array(from.buffer, from.byteOffset, bytes));
  return 0;
}

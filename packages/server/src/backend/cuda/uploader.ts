/**
 * Brings tensors from mapped files to the device: a chunk at a time through pinned memory, converted on the device. Reading
 * from disk and waiting leave the event loop free; uploads take turns with each other, steps go on meanwhile.
 */

import { assert } from '../../base/assert.ts';
import { countHandle } from '../../base/handles.ts';
import { addressOf, copyBytesAside, type Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES, elementCount, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import { isRowMajor, readFloats } from '../../weights/values.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { CudaDevice } from './device.ts';
import { requireSuccess } from './driver.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { perElement } from './kernels.ts';
import { Stream } from './stream.ts';

const CHUNK_BYTES = 16 << 20;

/** Elements in a row somewhere in host memory. */
interface HostElements {
  readonly address: Pointer;
  readonly dtype: Dtype;
}

export class Uploader {
  readonly stream: Stream;
  readonly #device: CudaDevice;
  readonly #pinned: Pointer;
  /** Chunks that are to be converted wait here. */
  readonly #staging: DeviceMemory;
  #turn: Promise<void> = Promise.resolve();

  constructor(device: CudaDevice) {
    this.#device = device;
    this.stream = new Stream(device.driver);
    this.#staging = device.allocate(CHUNK_BYTES, 'the memory that tensors go up through');
    const address = new BigUint64Array(1);
    requireSuccess(device.driver.allocateHost(address, CHUNK_BYTES), 'the memory that tensors go up through');
    this.#pinned = address[0]!;
    countHandle('pinned memory', 1);
  }

  /** Row by row, as `dtype`. */
  async upload(view: TensorView, to: Pointer, dtype: Dtype): Promise<void> {
    const count = elementCount(view.shape);
    if (isRowMajor(view)) return this.#upload(view, to, dtype, count);
    const floats = readFloats(view);
    await this.#upload({ address: addressOf(floats.buffer as ArrayBuffer), dtype: 'float32' }, to, dtype, count);
    assert(floats.length === count, 'the copy is held until it is up');
  }

  /** Small things that are in JavaScript's memory. */
  uploadBytes(bytes: Float32Array | Int32Array | Uint8Array, to: Pointer): void {
    const { driver } = this.#device;
    requireSuccess(driver.copyToDevice(to, bytes, bytes.byteLength, this.stream.handle), 'an upload');
  }

  dispose(): void {
    this.#device.driver.freeHost(this.#pinned);
    countHandle('pinned memory', -1);
    this.#staging.dispose();
    this.stream.dispose();
  }

  async #upload(from: HostElements, to: Pointer, dtype: Dtype, count: number): Promise<void> {
    const chunkLen = CHUNK_BYTES / DTYPE_BYTES[from.dtype];
    for (let start = 0; start < count; start += chunkLen) {
      const chunk = { address: from.address + BigInt(start * DTYPE_BYTES[from.dtype]), dtype: from.dtype };
      const target = to + BigInt(start * DTYPE_BYTES[dtype]);
      await this.#alone(() => this.#uploadChunk(chunk, target, dtype, Math.min(chunkLen, count - start)));
    }
  }

  async #uploadChunk(from: HostElements, to: Pointer, dtype: Dtype, count: number): Promise<void> {
    const { driver, kernels } = this.#device;
    const bytes = count * DTYPE_BYTES[from.dtype];
    const isSame = from.dtype === dtype;
    await copyBytesAside(this.#pinned, from.address, bytes);
    const target = isSame ? to : this.#staging.address;
    requireSuccess(driver.copyToDevice(target, this.#pinned, bytes, this.stream.handle), 'an upload');
    if (!isSame) {
      const types = [ELEMENT_TYPE[dtype], ELEMENT_TYPE[from.dtype]] as const;
      const args = [to, types[0], this.#staging.address, types[1], count] as const;
      kernels.launch(this.stream.handle, 'convert_elements', perElement(count), ...args);
    }
    await this.stream.finish('an upload');
  }

  /** One chunk after the other: they share the pinned memory. */
  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

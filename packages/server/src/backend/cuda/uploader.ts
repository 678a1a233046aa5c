/**
 * Brings tensors from mapped files to the device: a chunk at a time through pinned memory, converted and checked on the device.
 * Reading from disk and waiting leave the event loop free; uploads take turns with each other, steps go on meanwhile.
 */

import { assert } from '../../base/assert.ts';
import { countHandle } from '../../base/handles.ts';
import { Owned } from '../../base/owned.ts';
import { addressOf, copyBytes, copyBytesAside, type Pointer } from '../../native/ffi.ts';
import { DTYPE_BYTES, elementCount, type Dtype, type TensorView } from '../../weights/tensor-view.ts';
import { isRowMajor, readFloats } from '../../weights/values.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { CudaDevice } from './device.ts';
import { requireSuccess } from './driver.ts';
import { ELEMENT_TYPE } from './element-types.ts';
import { perElement } from './grids.ts';
import { alignedBytes } from './slab-plan.ts';
import { Stream } from './stream.ts';

/** Pinned memory; filled by chunks of a large tensor or several small ones, then waited for. */
const BUFFER_BYTES = 32 << 20;
/** Of a large tensor: the device fetches one while the next is copied. */
const CHUNK_BYTES = 8 << 20;
/** What is copied at once; larger chunks may have to come from disk, and are copied on other threads. */
const SMALL_BYTES = 1 << 20;
/** Threads that copy a chunk, which one alone does slower than the device fetches it; libuv's pool has as many. */
const COPY_THREADS = 4;
/** What is copied on this thread before others have their turn: a tenth of a millisecond, little beside a step. */
const TURN_BYTES = 1 << 20;

/** Elements in a row. */
interface Elements {
  readonly address: Pointer;
  readonly dtype: Dtype;
}

/** Neighbours in each row; rows may lie further apart, as those of a matrix of which some columns are wanted. */
interface Rows extends Elements {
  readonly count: number;
  readonly length: number;
  readonly stride: number;
}

interface Target extends Elements {
  readonly fault: Pointer | undefined;
}

export class Uploader {
  readonly stream: Stream;
  readonly #device: CudaDevice;
  readonly #pinned: Pointer;
  /** Chunks that are to be converted wait here, each at its place in the pinned memory. */
  readonly #staging: DeviceMemory;
  #used = 0;
  /** On this thread, since others had their turn. */
  #copied = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(device: CudaDevice) {
    this.#device = device;
    const owned = new Owned();
    try {
      this.stream = owned.add(new Stream(device.driver));
      this.#staging = owned.add(device.allocate(BUFFER_BYTES, 'the memory that tensors go up through'));
      const address = new BigUint64Array(1);
      requireSuccess(device.driver.allocateHost(address, BUFFER_BYTES), 'the memory that tensors go up through');
      this.#pinned = address[0]!;
    } catch (error) {
      owned.dispose();
      throw error;
    }
    countHandle('pinned memory', 1);
  }

  /**
   * Row by row, as `dtype`. It is there when the stream is finished; the int32 at `fault` is then 1 where the tensor holds
   * infinities or NaN, and untouched elsewhere.
   */
  async upload(view: TensorView, to: Pointer, dtype: Dtype, fault?: Pointer): Promise<void> {
    const target = { address: to, dtype, fault };
    const count = elementCount(view.shape);
    if (isRowMajor(view)) return this.#upload(view, target, count);
    const rows = rowsOf(view);
    if (rows !== undefined) return this.#uploadRows(rows, target);
    const floats = readFloats(view);
    const from = { address: addressOf(floats.buffer as ArrayBuffer), dtype: 'float32' } as const;
    await this.#upload(from, target, count);
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

  async #upload(from: Elements, to: Target, count: number): Promise<void> {
    const chunkLen = CHUNK_BYTES / DTYPE_BYTES[from.dtype];
    for (let start = 0; start < count; start += chunkLen) {
      const chunk = { ...from, address: from.address + BigInt(start * DTYPE_BYTES[from.dtype]) };
      const target = { ...to, address: to.address + BigInt(start * DTYPE_BYTES[to.dtype]) };
      const chunkCount = Math.min(chunkLen, count - start);
      const bytes = chunkCount * DTYPE_BYTES[from.dtype];
      const copy = (pinned: Pointer): Promise<void> => this.#copy(pinned, chunk.address, bytes);
      await this.#alone(() => this.#uploadChunk(from.dtype, target, chunkCount, copy));
    }
  }

  /** As many whole rows at a time as there is room for. */
  async #uploadRows({ address, dtype, count, length, stride }: Rows, to: Target): Promise<void> {
    const [rowBytes, strideBytes] = [length * DTYPE_BYTES[dtype], stride * DTYPE_BYTES[dtype]];
    assert(rowBytes <= CHUNK_BYTES, 'a row of a matrix is no larger than a chunk');
    const chunkRows = Math.floor(CHUNK_BYTES / rowBytes);
    for (let start = 0; start < count; start += chunkRows) {
      const rows = Math.min(chunkRows, count - start);
      const target = { ...to, address: to.address + BigInt(start * length * DTYPE_BYTES[to.dtype]) };
      const copyRows = (pinned: Pointer): Promise<void> => {
        for (let row = 0; row < rows; row++) {
          copyBytes(pinned + BigInt(row * rowBytes), address + BigInt((start + row) * strideBytes), rowBytes);
        }
        return this.#leaveTurns(rows * rowBytes);
      };
      await this.#alone(() => this.#uploadChunk(dtype, target, rows * length, copyRows));
    }
  }

  /** `copy` brings the elements to pinned memory. */
  async #uploadChunk(dtype: Dtype, to: Target, count: number, copy: (pinned: Pointer) => Promise<void>): Promise<void> {
    const bytes = count * DTYPE_BYTES[dtype];
    if (this.#used + bytes > BUFFER_BYTES) {
      await this.stream.finish('an upload');
      this.#used = 0;
    }
    const pinned = this.#pinned + BigInt(this.#used);
    const staged = to.dtype === dtype ? to.address : this.#staging.address + BigInt(this.#used);
    this.#used += alignedBytes(bytes);
    await copy(pinned);
    const { driver } = this.#device;
    requireSuccess(driver.copyToDevice(staged, pinned, bytes, this.stream.handle), 'an upload');
    this.#settle({ address: staged, dtype }, to, count);
  }

  async #copy(to: Pointer, from: Pointer, bytes: number): Promise<void> {
    if (bytes > SMALL_BYTES) return copyInParts(to, from, bytes);
    copyBytes(to, from, bytes);
    return this.#leaveTurns(bytes);
  }

  /** After so many bytes were copied on this thread. */
  async #leaveTurns(bytes: number): Promise<void> {
    this.#copied += bytes;
    if (this.#copied < TURN_BYTES) return;
    this.#copied = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Converts and checks what has just come up. */
  #settle(staged: Elements, to: Target, count: number): void {
    const { kernels } = this.#device;
    const type = ELEMENT_TYPE[staged.dtype];
    const launch = (name: 'convert_elements' | 'check_elements', ...args: (Pointer | number)[]): void =>
      kernels.launch(this.stream.handle, name, perElement(count), ...args, staged.address, type, count);
    if (to.dtype !== staged.dtype) launch('convert_elements', to.address, ELEMENT_TYPE[to.dtype]);
    if (to.fault !== undefined) launch('check_elements', to.fault);
  }

  /** One chunk after the other: they share the pinned memory. */
  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

/** Of a matrix; undefined where the elements of a row are no neighbours. */
function rowsOf({ address, dtype, shape, strides }: TensorView): Rows | undefined {
  const [count = 0, length = 0] = shape;
  const [stride = 0, step] = strides;
  return shape.length === 2 && step === 1 ? { address, dtype, count, length, stride } : undefined;
}

async function copyInParts(to: Pointer, from: Pointer, bytes: number): Promise<void> {
  const partBytes = Math.ceil(bytes / COPY_THREADS);
  const parts = Array.from({ length: COPY_THREADS }, (_, i) => {
    const start = BigInt(i * partBytes);
    return copyBytesAside(to + start, from + start, Math.min(partBytes, bytes - i * partBytes));
  });
  await Promise.all(parts);
}

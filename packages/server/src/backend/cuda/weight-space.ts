/**
 * The base model's matrices one after the other in one range of addresses, backed by memory as it fills: those that were
 * loaded together lie together, and can be multiplied as one. Holds; never gives single matrices back.
 */

import { countHandle } from '../../base/handles.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { CudaDevice } from './device.ts';
import { requireSuccess } from './driver.ts';
import { alignedBytes } from './slab-plan.ts';

/** Memory is taken in pieces of so many bytes: a multiple of every device's granularity, and little to waste in the last one. */
const PIECE_BYTES = 32 << 20;

const PINNED_ON_DEVICE = 1;
const LOCATION_DEVICE = 1;
const READ_WRITE = 3;

export class WeightSpace {
  readonly #device: CudaDevice;
  readonly #capacity: number;
  readonly #start: Pointer;
  readonly #pieces: Pointer[] = [];
  #used = 0;

  /** Reserves as many addresses as the device has memory, and no memory. */
  constructor(device: CudaDevice) {
    this.#device = device;
    this.#capacity = Math.ceil(device.properties.totalBytes / PIECE_BYTES) * PIECE_BYTES;
    const start = new BigUint64Array(1);
    requireSuccess(device.driver.reserveAddresses(start, this.#capacity, 0, 0n, 0), 'addresses for the weights');
    this.#start = start[0]!;
    countHandle('cuda addresses', 1);
  }

  /** Throws OUT_OF_MEMORY naming `what`. */
  take(byteLength: number, what: string): Pointer {
    const address = this.#start + BigInt(this.#used);
    const end = this.#used + alignedBytes(byteLength);
    while (this.#pieces.length * PIECE_BYTES < end) this.#addPiece(what);
    this.#used = end;
    return address;
  }

  dispose(): void {
    const { driver } = this.#device;
    for (const [i, piece] of this.#pieces.entries()) this.#drop(this.#addressOf(i), piece);
    driver.freeAddresses(this.#start, this.#capacity);
    countHandle('cuda addresses', -1);
  }

  #addPiece(what: string): void {
    const { driver, properties } = this.#device;
    const address = this.#addressOf(this.#pieces.length);
    const handle = new BigUint64Array(1);
    // `CUmemAllocationProp`: type, no exported handles, location, no flags.
    const allocation = Int32Array.of(PINNED_ON_DEVICE, 0, LOCATION_DEVICE, properties.index, 0, 0, 0, 0);
    requireSuccess(driver.createMemory(handle, PIECE_BYTES, allocation, 0), what);
    const piece = handle[0]!;
    const mapped = driver.mapMemory(address, PIECE_BYTES, 0, piece, 0);
    if (mapped !== 0) driver.releaseMemory(piece);
    requireSuccess(mapped, what);
    countHandle('cuda memory', 1);
    const access = Int32Array.of(LOCATION_DEVICE, properties.index, READ_WRITE);
    const opened = driver.setAccess(address, PIECE_BYTES, access, 1);
    if (opened !== 0) this.#drop(address, piece);
    requireSuccess(opened, what);
    this.#pieces.push(piece);
  }

  #drop(address: Pointer, piece: Pointer): void {
    const { driver } = this.#device;
    driver.unmapMemory(address, PIECE_BYTES);
    driver.releaseMemory(piece);
    countHandle('cuda memory', -1);
  }

  #addressOf(piece: number): Pointer {
    return this.#start + BigInt(piece * PIECE_BYTES);
  }
}

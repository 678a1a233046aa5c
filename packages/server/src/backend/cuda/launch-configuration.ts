/** How many threads a kernel is launched with, in C's terms: `CUlaunchConfig`. Memory for one launch after the other. */

import { addressOf, type Pointer } from '../../native/ffi.ts';

const CONFIGURATION_BYTES = 56;
const ATTRIBUTE_BYTES = 72;
/** `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`: may begin while the kernel before it ends. */
const OVERLAPPING = 6;

const STREAM_AT = 32;
const ATTRIBUTES_AT = 40;
const ATTRIBUTE_COUNT_AT = 48;
const VALUE_AT = 8;

/** Blocks in up to three dimensions, and threads a block. */
export interface Grid {
  readonly blocks: readonly [x: number, y?: number, z?: number];
  readonly threads: number;
  /** Memory that the threads of a block share, beyond what the kernel declares itself. */
  readonly sharedBytes?: number;
}

export class LaunchConfiguration {
  readonly bytes = new Uint8Array(CONFIGURATION_BYTES);
  readonly #attribute = new ArrayBuffer(ATTRIBUTE_BYTES);
  readonly #view = new DataView(this.bytes.buffer);

  /** `overlaps` where the device can begin a kernel while the one before it ends; kernels wait by themselves then. */
  constructor(overlaps: boolean) {
    const attribute = new DataView(this.#attribute);
    attribute.setInt32(0, OVERLAPPING, true);
    attribute.setInt32(VALUE_AT, 1, true);
    this.#view.setBigUint64(ATTRIBUTES_AT, addressOf(this.#attribute), true);
    this.#view.setUint32(ATTRIBUTE_COUNT_AT, Number(overlaps), true);
  }

  /** Describes one launch; the driver copies it. */
  describe(stream: Pointer, { blocks: [x, y = 1, z = 1], threads, sharedBytes = 0 }: Grid): Uint8Array {
    for (const [i, count] of [x, y, z, threads, 1, 1, sharedBytes].entries()) this.#view.setUint32(i * 4, count, true);
    this.#view.setBigUint64(STREAM_AT, stream, true);
    return this.bytes;
  }
}

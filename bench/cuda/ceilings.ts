/** What the card itself can do: copy memory and multiply matrices. Needs a context that is current on this thread. */

import { DeviceMemory } from '#server/backend/cuda/device-memory.ts';
import { requireSuccess } from '#server/backend/cuda/driver.ts';
import type { CudaLibraries } from '#server/backend/cuda/libraries.ts';
import { Stream } from '#server/backend/cuda/stream.ts';
import { assert } from '#server/base/assert.ts';
import type { Pointer } from '#server/native/ffi.ts';
import { median } from '../statistics.ts';

export interface Ceilings {
  /** Read and written together. */
  readonly bytesPerSecond: number;
  /** Of a product of bfloat16 matrices; a multiplication and an addition are two. */
  readonly flopsPerSecond: number;
}

const COPY_BYTES = 2 ** 31;
const SIDE = 8192;

const MATRIX_BYTES = SIDE * SIDE * 2;

const SAMPLES = 8;
/** Given to the card at once, so that the time between two counts for little. */
const EACH = 8;

/** cuBLAS's own numbers for what is asked for below. */
const [TRANSPOSED, AS_IS, BFLOAT16, COMPUTE_FLOAT32, DEFAULT_ALGORITHM] = [1, 0, 14, 68, -1];

/** `numbers` are at least 8192 x 8192 random bfloat16 in host memory: products of zeros would be faster. */
export async function measureCeilings(libraries: CudaLibraries, numbers: Pointer): Promise<Ceilings> {
  const stream = new Stream(libraries.driver);
  try {
    const bytesPerSecond = await copyRate(libraries, stream);
    return { bytesPerSecond, flopsPerSecond: await productRate(libraries, stream, numbers) };
  } finally {
    stream.dispose();
  }
}

async function copyRate({ driver }: CudaLibraries, stream: Stream): Promise<number> {
  const from = new DeviceMemory(driver, COPY_BYTES, 'a copy');
  const to = new DeviceMemory(driver, COPY_BYTES, 'a copy');
  const seconds = await secondsOf(stream, () => {
    requireSuccess(driver.copyOnDevice(to.address, from.address, COPY_BYTES, stream.handle), 'a copy');
  });
  from.dispose();
  to.dispose();
  return (2 * COPY_BYTES) / seconds;
}

async function productRate({ driver, cublas }: CudaLibraries, stream: Stream, numbers: Pointer): Promise<number> {
  const [a, b, c] = [1, 2, 3].map(() => new DeviceMemory(driver, MATRIX_BYTES, 'a product')) as Matrices;
  for (const { address } of [a, b]) {
    requireSuccess(driver.copyToDevice(address, numbers, MATRIX_BYTES, stream.handle), 'a product');
  }
  const handle = new BigUint64Array(1);
  assert(cublas.create(handle) === 0 && cublas.setStream(handle[0]!, stream.handle) === 0, 'cuBLAS starts');
  const [one, zero] = [Float32Array.of(1), Float32Array.of(0)];
  const sizes = [TRANSPOSED, AS_IS, SIDE, SIDE, SIDE];
  const inputs = [one, a.address, BFLOAT16, SIDE, b.address, BFLOAT16, SIDE];
  const output = [zero, c.address, BFLOAT16, SIDE, COMPUTE_FLOAT32, DEFAULT_ALGORITHM];
  const seconds = await secondsOf(stream, () => {
    const status = cublas.gemm(handle[0]!, ...sizes, ...inputs, ...output);
    assert(status === 0, `cuBLAS multiplies (status ${status})`);
  });
  cublas.destroy(handle[0]!);
  for (const matrix of [a, b, c]) matrix.dispose();
  return (2 * SIDE ** 3) / seconds;
}

type Matrices = [DeviceMemory, DeviceMemory, DeviceMemory];

/** Of one piece of work. */
async function secondsOf(stream: Stream, work: () => void): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    const begun = performance.now();
    for (let each = 0; each < EACH; each++) work();
    await stream.finish('a measurement');
    samples.push((performance.now() - begun) / 1000 / EACH);
  }
  return median(samples);
}

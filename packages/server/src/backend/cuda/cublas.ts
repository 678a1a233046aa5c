/** The functions of cuBLAS that this project calls, typed once, and products of row-major matrices in its terms. */

import { countHandle } from '../../base/handles.ts';
import { LoraxError } from '../../base/errors.ts';
import type { Pointer, SharedLibrary } from '../../native/ffi.ts';
import type { Dtype } from '../../weights/tensor-view.ts';
import { DeviceMemory } from './device-memory.ts';
import type { Driver } from './driver.ts';

const PROTOTYPES = {
  create: 'int cublasCreate_v2(void *handle)',
  destroy: 'int cublasDestroy_v2(void *handle)',
  version: 'int cublasGetVersion_v2(void *handle, void *version)',
  setStream: 'int cublasSetStream_v2(void *handle, void *stream)',
  setWorkspace: 'int cublasSetWorkspace_v2(void *handle, uint64_t workspace, size_t bytes)',
  gemm: 'int cublasGemmEx(void *handle, int transa, int transb, int m, int n, int k, const void *alpha, uint64_t a, int atype, int lda, uint64_t b, int btype, int ldb, const void *beta, uint64_t c, int ctype, int ldc, int computeType, int algo)',
} as const;

export interface CublasFunctions {
  create(handle: BigUint64Array): number;
  destroy(handle: Pointer): number;
  version(handle: Pointer, version: Int32Array): number;
  setStream(handle: Pointer, stream: Pointer): number;
  setWorkspace(handle: Pointer, workspace: Pointer, bytes: number): number;
  gemm(handle: Pointer, ...args: (Pointer | number | Float32Array)[]): number;
}

export function bindCublas(library: SharedLibrary): CublasFunctions {
  const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)] as const);
  return Object.fromEntries(functions) as unknown as CublasFunctions;
}

const TRANSPOSED = 1;
const AS_IS = 0;
/** `cudaDataType`. */
const DATA_TYPE: Readonly<Record<Dtype, number>> = { float32: 0, float16: 2, bfloat16: 14 };
/** Sums in float32; TF32 only where it was asked for, and it never is. */
const COMPUTE_FLOAT32 = 68;
const DEFAULT_ALGORITHM = -1;
const ONE = Float32Array.of(1);
const ZERO = Float32Array.of(0);

/** What NVIDIA recommends for Hopper; given once, so that products allocate nothing. */
const WORKSPACE_BYTES = 32 << 20;

/** Two matrices of one type, `x` `[rows, in]` and `weight` `[out, in]`, and where their product `[rows, out]` goes. */
export interface Product {
  readonly dtype: Dtype;
  readonly x: Pointer;
  /** Elements from one row of `x` to the next. */
  readonly xStride: number;
  readonly weight: Pointer;
  readonly y: Pointer;
  readonly rows: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export class Cublas {
  readonly #functions: CublasFunctions;
  readonly #handle: Pointer;
  readonly #workspace: DeviceMemory | undefined;

  constructor(functions: CublasFunctions, driver: Driver, stream: Pointer) {
    this.#functions = functions;
    const handle = new BigUint64Array(1);
    requireStatus(functions.create(handle), 'starting cuBLAS');
    this.#handle = handle[0]!;
    countHandle('cublas handle', 1);
    try {
      this.#workspace = new DeviceMemory(driver, WORKSPACE_BYTES, 'the workspace of products');
      requireStatus(functions.setStream(this.#handle, stream), 'starting cuBLAS');
      const { address, byteLength } = this.#workspace;
      requireStatus(functions.setWorkspace(this.#handle, address, byteLength), 'starting cuBLAS');
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** `13.0.2`. */
  get version(): string {
    const version = new Int32Array(1);
    requireStatus(this.#functions.version(this.#handle, version), 'asking for the version of cuBLAS');
    const value = version[0]!;
    return [Math.floor(value / 10_000), Math.floor(value / 100) % 100, value % 100].join('.');
  }

  /** `y = x weight^T` in float32. cuBLAS counts columns first, so that it computes `y^T = weight x^T`. */
  multiply({ dtype, x, xStride, weight, y, rows, inFeatures, outFeatures }: Product): void {
    const type = DATA_TYPE[dtype];
    const sizes = [outFeatures, rows, inFeatures];
    const operands = [ONE, weight, type, inFeatures, x, type, xStride, ZERO, y, DATA_TYPE.float32, outFeatures];
    const status = this.#functions.gemm(
      ...([this.#handle, TRANSPOSED, AS_IS, ...sizes, ...operands, COMPUTE_FLOAT32, DEFAULT_ALGORITHM] as const),
    );
    requireStatus(status, 'a matrix product');
  }

  dispose(): void {
    this.#functions.destroy(this.#handle);
    this.#workspace?.dispose();
    countHandle('cublas handle', -1);
  }
}

const OUT_OF_MEMORY = 3;
export const CUBLAS_EXECUTION_FAILED = 13;

function requireStatus(status: number, what: string): void {
  if (status === 0) return;
  if (status === OUT_OF_MEMORY) throw new LoraxError('OUT_OF_MEMORY', { what });
  throw new LoraxError('GENERATION', { reason: `${what}: cuBLAS reported status ${status}` });
}

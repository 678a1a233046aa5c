/**
 * CUDA's libraries without a card: every function succeeds and computes nothing, until a call is told to fail. Counts what
 * was opened and not closed, and insists that work goes to a stream of the current card. Knows C functions by name, and nothing
 * of who calls them.
 */

import { assert, present } from '../../../base/assert.ts';
import { addressOf, type SharedLibrary } from '../../../native/ffi.ts';
import { bindCublas } from '../cublas.ts';
import { bindDriver } from '../driver.ts';
import type { CudaLibraries } from '../libraries.ts';
import { bindNccl } from '../nccl.ts';
import { bindNvrtc } from '../nvrtc.ts';

export interface Failure {
  /** Which call fails, counted from 0 over all libraries. */
  readonly call: number;
  /** Each library says it in its own number. */
  readonly cause: 'memory' | 'kernel';
}

/** What a function opens or closes. A capture that ends leaves a graph. */
const OPENS: Readonly<Record<string, string>> = {
  cuDevicePrimaryCtxRetain: 'context',
  cuMemAlloc_v2: 'memory',
  cuMemAllocHost_v2: 'pinned memory',
  cuMemAddressReserve: 'addresses',
  cuMemCreate: 'piece',
  cuMemMap: 'mapped piece',
  cuStreamCreate: 'stream',
  cuModuleLoadData: 'module',
  cuStreamBeginCapture_v2: 'capture',
  cuStreamEndCapture: 'graph',
  cuGraphInstantiateWithFlags: 'executable graph',
  cublasCreate_v2: 'cuBLAS',
  nvrtcCreateProgram: 'program',
  ncclGroupStart: 'group',
  ncclCommInitAll: 'communicator',
};
const CLOSES: Readonly<Record<string, string>> = {
  cuDevicePrimaryCtxRelease_v2: 'context',
  cuMemFree_v2: 'memory',
  cuMemFreeHost: 'pinned memory',
  cuMemAddressFree: 'addresses',
  cuMemRelease: 'piece',
  cuMemUnmap: 'mapped piece',
  cuStreamDestroy_v2: 'stream',
  cuModuleUnload: 'module',
  cuStreamEndCapture: 'capture',
  cuGraphDestroy: 'graph',
  cuGraphExecDestroy: 'executable graph',
  cublasDestroy_v2: 'cuBLAS',
  nvrtcDestroyProgram: 'program',
  ncclGroupEnd: 'group',
  ncclCommDestroy: 'communicator',
  ncclCommAbort: 'communicator',
};

/** Which argument is a stream, of functions that want its card to be current. */
const STREAM_ARGUMENT: Readonly<Record<string, number>> = {
  cuMemcpyHtoDAsync_v2: 3,
  cuMemcpyDtoDAsync_v2: 3,
  cuStreamQuery: 0,
  cuStreamSynchronize: 0,
  cuStreamBeginCapture_v2: 0,
  cuGraphUpload: 1,
  cuGraphLaunch: 1,
  cublasSetStream_v2: 1,
};
/** A context that is there. */
const NEEDS_NO_MEMORY = 'cuCtxSetCurrent';
/** Of `CUlaunchConfig`. */
const STREAM_OFFSET = 32;

const NOT_READY = 600;
/** By the first letters of a function: out of memory, and what a kernel that failed is told as. */
const RESULTS = {
  cuda: { memory: 2, kernel: 700 },
  cublas: { memory: 3, kernel: 13 },
  nvrtc: { memory: 1, kernel: 11 },
  nccl: { memory: 1, kernel: 1 },
} as const;

const FREE_BYTES = 2n ** 33n;

/** By size. */
const PINNED = new Map<number, ArrayBuffer>();

type Arguments = readonly unknown[];

export class FakeCuda {
  readonly libraries: CudaLibraries;
  /** Names of the C functions that were called, in order. */
  readonly calls: string[] = [];
  /** Work that was given to the device never ends. */
  hangs = false;
  /** After a failed kernel everything fails, as CUDA has it; after a lack of memory the next call may succeed. */
  readonly #failure: Failure | undefined;
  readonly #cardsReach: boolean;
  readonly #open = new Map<string, number>();
  #address = 1n << 32n;
  #context: unknown;
  /** Of each stream. */
  readonly #contexts = new Map<unknown, unknown>();

  /** Cards read each other's memory unless told. */
  constructor(failure?: Failure, cardsReach = true) {
    this.#failure = failure;
    this.#cardsReach = cardsReach;
    const library: SharedLibrary = {
      func: <T>(prototype: string) => this.#bind(nameOf(prototype)) as T,
      asyncFunc: <T>(prototype: string) => later(this.#bind(nameOf(prototype))) as T,
    };
    this.libraries = {
      ...{ driver: bindDriver(library), nvrtc: bindNvrtc(library), cublas: bindCublas(library) },
      openNccl: () => bindNccl(library),
    };
  }

  /** What is open, by kind; empty when all was closed. */
  get open(): Record<string, number> {
    return Object.fromEntries([...this.#open].filter(([, count]) => count !== 0));
  }

  #bind(name: string): (...args: Arguments) => number {
    return (...args) => {
      const call = this.calls.push(name) - 1;
      this.#checkContext(name, args);
      this.#count(CLOSES[name], -1);
      const result = this.#resultOf(name, call);
      if (result !== 0) return result;
      this.#count(OPENS[name], name === 'ncclCommInitAll' ? (args[1] as number) : 1);
      this.#answer(name, args);
      return 0;
    };
  }

  #resultOf(name: string, call: number): number {
    if (name === 'cuStreamQuery' && this.hangs) return NOT_READY;
    if (this.#failure === undefined) return 0;
    const { call: failing, cause } = this.#failure;
    const isFailing = cause === 'kernel' ? call >= failing : call === failing && name !== NEEDS_NO_MEMORY;
    return isFailing ? RESULTS[libraryOf(name)][cause] : 0;
  }

  #count(kind: string | undefined, change: number): void {
    if (kind === undefined) return;
    const count = (this.#open.get(kind) ?? 0) + change;
    assert(count >= 0, `a ${kind} is closed that is open`);
    this.#open.set(kind, count);
  }

  #checkContext(name: string, args: Arguments): void {
    const stream =
      name === 'cuLaunchKernelEx'
        ? new DataView((args[0] as Uint8Array).buffer).getBigUint64(STREAM_OFFSET, true)
        : args[STREAM_ARGUMENT[name] ?? Infinity];
    if (stream === undefined) return;
    assert(this.#contexts.get(stream) === this.#context, `${name} finds the card of its stream current`);
  }

  /** Handles and addresses come as first arguments; pinned memory can be written for real. */
  #answer(name: string, [first, second]: Arguments): void {
    if (name === 'cuDevicePrimaryCtxRetain') {
      (first as BigUint64Array)[0] = BigInt((second as number) + 1);
    } else if (name === 'cuCtxSetCurrent') {
      this.#context = first;
    } else if (name.startsWith('nccl')) {
      // It chooses cards by itself.
      this.#context = 'another';
    } else if (name === 'cuDeviceCanAccessPeer') {
      (first as Int32Array)[0] = Number(this.#cardsReach);
    } else if (name === 'cuStreamCreate') {
      (first as BigUint64Array)[0] = ++this.#address;
      this.#contexts.set(this.#address, this.#context);
    } else if (name === 'cuMemAllocHost_v2') {
      (first as BigUint64Array)[0] = addressOf(pinnedMemory(second as number));
    } else if (name === 'cuMemAlloc_v2' || name === 'cuMemAddressReserve') {
      (first as BigUint64Array)[0] = this.#address;
      this.#address += BigInt(second as number);
    } else if (name === 'cuMemcpyDtoH_v2' && first instanceof Float32Array) {
      // No length of a row is 0.
      first.fill(1);
    } else if (name === 'cuMemGetInfo_v2') {
      for (const bytes of [first, second] as BigUint64Array[]) bytes[0] = FREE_BYTES;
    } else if (name === 'nvrtcGetCUBINSize') {
      (second as BigUint64Array)[0] = 1n;
    }
  }
}

/** The same for all fakes: nobody reads it, and making it takes longer than everything else. */
function pinnedMemory(bytes: number): ArrayBuffer {
  const memory = PINNED.get(bytes) ?? new ArrayBuffer(bytes);
  PINNED.set(bytes, memory);
  return memory;
}

function later(call: (...args: Arguments) => number): (...args: Arguments) => Promise<number> {
  return async (...args) => {
    await new Promise(setImmediate);
    return call(...args);
  };
}

function libraryOf(name: string): keyof typeof RESULTS {
  if (name.startsWith('cublas')) return 'cublas';
  if (name.startsWith('nccl')) return 'nccl';
  return name.startsWith('nvrtc') ? 'nvrtc' : 'cuda';
}

/** `cuInit` of `int cuInit(uint flags)`. */
function nameOf(prototype: string): string {
  return present(/(\w+)\(/.exec(prototype)?.[1], `a name in ${prototype}`);
}

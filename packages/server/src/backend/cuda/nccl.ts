/** The functions of NCCL that this project calls, typed once. */

import type { Pointer, SharedLibrary } from '../../native/ffi.ts';

const PROTOTYPES = {
  initAll: 'int ncclCommInitAll(void *communicators, int count, const void *devices)',
  abort: 'int ncclCommAbort(void *communicator)',
  destroy: 'int ncclCommDestroy(void *communicator)',
  groupStart: 'int ncclGroupStart()',
  groupEnd: 'int ncclGroupEnd()',
  allReduce:
    'int ncclAllReduce(uint64_t from, uint64_t to, size_t count, int type, int operation, void *communicator, void *stream)',
  broadcast:
    'int ncclBroadcast(uint64_t from, uint64_t to, size_t count, int type, int root, void *communicator, void *stream)',
} as const;

export interface Nccl {
  initAll(communicators: BigUint64Array, count: number, devices: Int32Array): number;
  abort(communicator: Pointer): number;
  destroy(communicator: Pointer): number;
  groupStart(): number;
  groupEnd(): number;
  allReduce(from: Pointer, to: Pointer, count: number, ...rest: NcclArguments): number;
  /** `from` counts on the root alone. */
  broadcast(from: Pointer, to: Pointer, count: number, ...rest: NcclArguments): number;
}

/** The type, the operation or the root, and on whose behalf. */
type NcclArguments = [type: number, operationOrRoot: number, communicator: Pointer, stream: Pointer];

export function bindNccl(library: SharedLibrary): Nccl {
  const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)] as const);
  return Object.fromEntries(functions) as unknown as Nccl;
}

/**
 * The functions of CUDA's driver that this project calls, typed once, and what their results mean as errors. Trusts its
 * arguments: a bad address spoils the process's context for good.
 */

import { LoraxError } from '../../base/errors.ts';
import type { Pointer, SharedLibrary } from '../../native/ffi.ts';

const PROTOTYPES = {
  init: 'int cuInit(uint flags)',
  driverVersion: 'int cuDriverGetVersion(void *version)',
  deviceCount: 'int cuDeviceGetCount(void *count)',
  deviceName: 'int cuDeviceGetName(void *name, int length, int device)',
  deviceAttribute: 'int cuDeviceGetAttribute(void *value, int attribute, int device)',
  deviceMemory: 'int cuDeviceTotalMem_v2(void *bytes, int device)',
  retainContext: 'int cuDevicePrimaryCtxRetain(void *context, int device)',
  canAccessPeer: 'int cuDeviceCanAccessPeer(void *can, int device, int peer)',
  enablePeerAccess: 'int cuCtxEnablePeerAccess(void *context, uint flags)',
  releaseContext: 'int cuDevicePrimaryCtxRelease_v2(int device)',
  setContext: 'int cuCtxSetCurrent(void *context)',
  memoryInfo: 'int cuMemGetInfo_v2(void *free, void *total)',
  allocate: 'int cuMemAlloc_v2(void *address, size_t bytes)',
  free: 'int cuMemFree_v2(uint64_t address)',
  allocateHost: 'int cuMemAllocHost_v2(void *address, size_t bytes)',
  freeHost: 'int cuMemFreeHost(void *address)',
  copyToDevice: 'int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream)',
  copyToHost: 'int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes)',
  copyOnDevice: 'int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream)',
  streamCreate: 'int cuStreamCreate(void *stream, uint flags)',
  streamQuery: 'int cuStreamQuery(void *stream)',
  streamSynchronize: 'int cuStreamSynchronize(void *stream)',
  streamDestroy: 'int cuStreamDestroy_v2(void *stream)',
  beginCapture: 'int cuStreamBeginCapture_v2(void *stream, int mode)',
  endCapture: 'int cuStreamEndCapture(void *stream, void *graph)',
  graphInstantiate: 'int cuGraphInstantiateWithFlags(void *executable, void *graph, uint64_t flags)',
  graphUpload: 'int cuGraphUpload(void *executable, void *stream)',
  graphLaunch: 'int cuGraphLaunch(void *executable, void *stream)',
  graphDestroy: 'int cuGraphDestroy(void *graph)',
  graphExecDestroy: 'int cuGraphExecDestroy(void *executable)',
  reserveAddresses:
    'int cuMemAddressReserve(void *address, size_t bytes, size_t alignment, uint64_t hint, uint64_t flags)',
  freeAddresses: 'int cuMemAddressFree(uint64_t address, size_t bytes)',
  createMemory: 'int cuMemCreate(void *handle, size_t bytes, const void *properties, uint64_t flags)',
  releaseMemory: 'int cuMemRelease(uint64_t handle)',
  mapMemory: 'int cuMemMap(uint64_t address, size_t bytes, size_t offset, uint64_t handle, uint64_t flags)',
  unmapMemory: 'int cuMemUnmap(uint64_t address, size_t bytes)',
  setAccess: 'int cuMemSetAccess(uint64_t address, size_t bytes, const void *description, size_t count)',
  moduleLoad: 'int cuModuleLoadData(void *module, const void *image)',
  moduleUnload: 'int cuModuleUnload(void *module)',
  moduleFunction: 'int cuModuleGetFunction(void *function, void *module, const char *name)',
  functionAttribute: 'int cuFuncSetAttribute(void *function, int attribute, int value)',
  encodeTensorMap:
    'int cuTensorMapEncodeTiled(uint64_t map, int type, uint rank, uint64_t address, const void *sizes, const void *strides, const void *box, const void *steps, int interleave, int swizzle, int promotion, int fill)',
  launch: 'int cuLaunchKernelEx(const void *configuration, void *function, void *arguments, void *extra)',
} as const;

type Out = BigUint64Array | Int32Array;
/** Host memory: JavaScript's own or somebody else's. */
type HostMemory = NodeJS.ArrayBufferView | Pointer;

type TensorDimensions = [sizes: BigUint64Array, strides: BigUint64Array, box: Uint32Array, steps: Uint32Array];

export interface Driver {
  init(flags: number): number;
  driverVersion(version: Out): number;
  deviceCount(count: Out): number;
  deviceName(name: Uint8Array, length: number, device: number): number;
  deviceAttribute(value: Out, attribute: number, device: number): number;
  deviceMemory(bytes: Out, device: number): number;
  retainContext(context: Out, device: number): number;
  canAccessPeer(can: Out, device: number, peer: number): number;
  enablePeerAccess(context: Pointer, flags: number): number;
  releaseContext(device: number): number;
  setContext(context: Pointer): number;
  memoryInfo(free: Out, total: Out): number;
  allocate(address: Out, bytes: number): number;
  free(address: Pointer): number;
  allocateHost(address: Out, bytes: number): number;
  freeHost(address: Pointer): number;
  copyToDevice(to: Pointer, from: HostMemory, bytes: number, stream: Pointer): number;
  copyToHost(to: NodeJS.ArrayBufferView, from: Pointer, bytes: number): number;
  copyOnDevice(to: Pointer, from: Pointer, bytes: number, stream: Pointer): number;
  streamCreate(stream: Out, flags: number): number;
  streamQuery(stream: Pointer): number;
  streamSynchronize(stream: Pointer): number;
  streamDestroy(stream: Pointer): number;
  beginCapture(stream: Pointer, mode: number): number;
  endCapture(stream: Pointer, graph: Out): number;
  graphInstantiate(executable: Out, graph: Pointer, flags: number): number;
  graphUpload(executable: Pointer, stream: Pointer): number;
  graphLaunch(executable: Pointer, stream: Pointer): number;
  graphDestroy(graph: Pointer): number;
  graphExecDestroy(executable: Pointer): number;
  reserveAddresses(address: Out, bytes: number, alignment: number, hint: Pointer, flags: number): number;
  freeAddresses(address: Pointer, bytes: number): number;
  createMemory(handle: Out, bytes: number, properties: Int32Array, flags: number): number;
  releaseMemory(handle: Pointer): number;
  mapMemory(address: Pointer, bytes: number, offset: number, handle: Pointer, flags: number): number;
  unmapMemory(address: Pointer, bytes: number): number;
  setAccess(address: Pointer, bytes: number, description: Int32Array, count: number): number;
  moduleLoad(module: Out, image: Uint8Array): number;
  moduleUnload(module: Pointer): number;
  moduleFunction(target: Out, module: Pointer, name: string): number;
  functionAttribute(kernel: Pointer, attribute: number, value: number): number;
  encodeTensorMap(
    ...array: [map: Pointer, type: number, rank: number, address: Pointer, ...dimensions: TensorDimensions, ...number[]]
  ): number;
  launch(configuration: Uint8Array, kernel: Pointer, args: BigUint64Array, extra: null): number;
}

export function bindDriver(library: SharedLibrary): Driver {
  const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)] as const);
  return Object.fromEntries(functions) as unknown as Driver;
}

/** The newest CUDA that the driver runs: `13.0`. */
export function driverVersion(driver: Driver): string {
  const version = new Int32Array(1);
  requireSuccess(driver.driverVersion(version), "asking for the driver's version");
  return `${Math.floor(version[0]! / 1000)}.${Math.floor(version[0]! / 10) % 100}`;
}

const SUCCESS = 0;
const OUT_OF_MEMORY = 2;

/** Of `CUresult`; the others are told by number. */
const RESULTS: Readonly<Record<number, string>> = {
  1: 'CUDA_ERROR_INVALID_VALUE',
  [OUT_OF_MEMORY]: 'CUDA_ERROR_OUT_OF_MEMORY',
  100: 'CUDA_ERROR_NO_DEVICE',
  101: 'CUDA_ERROR_INVALID_DEVICE',
  201: 'CUDA_ERROR_INVALID_CONTEXT',
  209: 'CUDA_ERROR_NO_BINARY_FOR_GPU',
  214: 'CUDA_ERROR_ECC_UNCORRECTABLE',
  218: 'CUDA_ERROR_INVALID_PTX',
  700: 'CUDA_ERROR_ILLEGAL_ADDRESS',
  701: 'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES',
  702: 'CUDA_ERROR_LAUNCH_TIMEOUT',
  716: 'CUDA_ERROR_MISALIGNED_ADDRESS',
  719: 'CUDA_ERROR_LAUNCH_FAILED',
  803: 'CUDA_ERROR_SYSTEM_DRIVER_MISMATCH',
  999: 'CUDA_ERROR_UNKNOWN',
};

/**
 * Throws OUT_OF_MEMORY naming `what`, else GENERATION. After a failed kernel every later call fails the same way, so that
 * the server is unhealthy for as long as its device is lost.
 */
export function requireSuccess(result: number, what: string): void {
  if (result === SUCCESS) return;
  if (result === OUT_OF_MEMORY) throw new LoraxError('OUT_OF_MEMORY', { what });
  throw new LoraxError('GENERATION', { reason: `${what}: the device reported ${resultName(result)}` });
}

export function resultName(result: number): string {
  return RESULTS[result] ?? `CUDA error ${result}`;
}

/** Which cards there are and which of them can be used; one of them, with what all parts of the backend share on it. */

import { countHandle } from '../../base/handles.ts';
import { LoraxError } from '../../base/errors.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { Architecture } from './architecture.ts';
import { forgetContext, inContext } from './context.ts';
import { DeviceMemory } from './device-memory.ts';
import { requireSuccess, resultName, type Driver } from './driver.ts';
import type { KernelModules } from './kernel-modules.ts';
import { Kernels } from './kernels.ts';
import { CUBLAS_EXECUTION_FAILED, type CublasFunctions } from './cublas.ts';
import type { CudaLibraries } from './libraries.ts';

/** Ampere: the first whose tensor cores take bfloat16. */
const LEAST_MAJOR = 8;

const MULTIPROCESSOR_COUNT = 16;
const COMPUTE_CAPABILITY_MAJOR = 75;
const COMPUTE_CAPABILITY_MINOR = 76;
const NAME_BYTES = 256;

export interface DeviceProperties extends Architecture {
  readonly index: number;
  readonly name: string;
  readonly multiprocessorCount: number;
  readonly totalBytes: number;
}

/** In the driver's order. Throws ENGINE_LIBRARY where the driver finds none. */
export function listDevices(driver: Driver): DeviceProperties[] {
  const status = driver.init(0);
  if (status !== 0) throw new LoraxError('ENGINE_LIBRARY', { reason: `no CUDA device: ${resultName(status)}` });
  const count = new Int32Array(1);
  requireSuccess(driver.deviceCount(count), 'counting devices');
  return Array.from({ length: count[0]! }, (_, index) => describe(driver, index));
}

/**
 * So many devices from that index on, one after the other, or the first so many that can be used. Throws ENGINE_LIBRARY saying
 * why there are fewer.
 */
export function chooseDevices(
  devices: readonly DeviceProperties[],
  index: number | undefined,
  count: number,
): DeviceProperties[] {
  const candidates = index === undefined ? devices : devices.slice(index, index + count);
  const chosen = candidates.filter(({ major }) => major >= LEAST_MAJOR).slice(0, count);
  if (chosen.length === count) return chosen;
  throw new LoraxError('ENGINE_LIBRARY', { reason: whyTooFew(candidates, index, count) });
}

function whyTooFew(candidates: readonly DeviceProperties[], index: number | undefined, count: number): string {
  const tooOld = candidates.filter(({ major }) => major < LEAST_MAJOR);
  const found = tooOld.map(({ name, major, minor }) => `${name} has ${major}.${minor}`).join(', ');
  if (found !== '') return `compute capability ${LEAST_MAJOR}.0 is needed; ${found}`;
  if (count === 1) return index === undefined ? 'no CUDA device' : `no CUDA device ${index}`;
  const where = index === undefined ? '' : ` from number ${index} on`;
  return `${count} CUDA devices are wanted${where}, found are ${candidates.length}`;
}

function describe(driver: Driver, index: number): DeviceProperties {
  const name = new Uint8Array(NAME_BYTES);
  const bytes = new BigUint64Array(1);
  requireSuccess(driver.deviceName(name, NAME_BYTES, index), `device ${index}`);
  requireSuccess(driver.deviceMemory(bytes, index), `device ${index}`);
  const attribute = (which: number): number => {
    const value = new Int32Array(1);
    requireSuccess(driver.deviceAttribute(value, which, index), `device ${index}`);
    return value[0]!;
  };
  return {
    index,
    name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
    multiprocessorCount: attribute(MULTIPROCESSOR_COUNT),
    major: attribute(COMPUTE_CAPABILITY_MAJOR),
    minor: attribute(COMPUTE_CAPABILITY_MINOR),
    totalBytes: Number(bytes[0]),
  };
}

/** A card in use: CUDA's functions as they act on it, and our kernels there. */
export class CudaDevice {
  readonly properties: DeviceProperties;
  readonly context: Pointer;
  readonly driver: Driver;
  readonly cublas: CublasFunctions;
  readonly kernels: Kernels;

  constructor({ driver, cublas }: CudaLibraries, properties: DeviceProperties, modules: KernelModules) {
    this.properties = properties;
    const context = new BigUint64Array(1);
    requireSuccess(driver.retainContext(context, properties.index), `device ${properties.index}`);
    countHandle('cuda context', 1);
    this.context = context[0]!;
    this.driver = inContext(driver, driver, this.context);
    this.cublas = inContext(cublas, driver, this.context, CUBLAS_EXECUTION_FAILED);
    try {
      this.kernels = new Kernels(this.driver, properties, modules);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /** What no allocation holds now. */
  get freeBytes(): number {
    const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
    requireSuccess(this.driver.memoryInfo(free, total), 'asking for free memory');
    return Number(free[0]);
  }

  allocate(byteLength: number, what: string): DeviceMemory {
    return new DeviceMemory(this.driver, byteLength, what);
  }

  dispose(): void {
    this.kernels.dispose();
    this.#release();
  }

  #release(): void {
    this.driver.releaseContext(this.properties.index);
    // Another one may get the same address.
    forgetContext();
    countHandle('cuda context', -1);
  }
}

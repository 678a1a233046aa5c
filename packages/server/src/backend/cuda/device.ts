/** Which cards there are and which of them can be used; one of them, with what all parts of the backend share on it. */

import { countHandle } from '../../base/handles.ts';
import { LoraxError } from '../../base/errors.ts';
import { DeviceMemory } from './device-memory.ts';
import { requireSuccess, resultName, type Driver } from './driver.ts';
import { Kernels, type Architecture } from './kernels.ts';
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

/** The device of that index, or the first that can be used. Throws ENGINE_LIBRARY saying why there is none. */
export function chooseDevice(devices: readonly DeviceProperties[], index: number | undefined): DeviceProperties {
  const candidates = index === undefined ? devices : devices.filter((device) => device.index === index);
  const chosen = candidates.find(({ major }) => major >= LEAST_MAJOR);
  if (chosen !== undefined) return chosen;
  const found = candidates.map(({ name, major, minor }) => `${name} has ${major}.${minor}`).join(', ');
  const which = index === undefined ? 'no CUDA device' : `no CUDA device ${index}`;
  const reason = found === '' ? which : `compute capability ${LEAST_MAJOR}.0 is needed; ${found}`;
  throw new LoraxError('ENGINE_LIBRARY', { reason });
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

/** A card in use: its context, current on this thread, and our kernels on it. */
export class CudaDevice {
  readonly properties: DeviceProperties;
  readonly driver: Driver;
  readonly kernels: Kernels;

  constructor(libraries: CudaLibraries, properties: DeviceProperties, cacheFolder: string) {
    const { driver } = libraries;
    this.properties = properties;
    this.driver = driver;
    const context = new BigUint64Array(1);
    requireSuccess(driver.retainContext(context, properties.index), `device ${properties.index}`);
    countHandle('cuda context', 1);
    try {
      requireSuccess(driver.setContext(context[0]!), `device ${properties.index}`);
      this.kernels = new Kernels(libraries, properties, cacheFolder);
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
    countHandle('cuda context', -1);
  }
}

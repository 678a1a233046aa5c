/** Which device computes: the one place that knows all backends. */

import type { Backend } from '../backend/backend.ts';
import { CudaBackend } from '../backend/cuda/cuda-backend.ts';
import { chooseDevice, listDevices, type DeviceProperties } from '../backend/cuda/device.ts';
import { loadCudaLibraries } from '../backend/cuda/libraries.ts';
import { GgmlBackend } from '../backend/ggml/ggml-backend.ts';
import type { MatmulPrecision } from '../backend/precision.ts';
import { LoraxError } from '../base/errors.ts';
import type { DeviceName } from '../config/device-name.ts';

export interface ChosenDevice {
  /** Undefined is the CPU. */
  readonly cuda: DeviceProperties | undefined;
  readonly because: string;
}

export interface BackendOptions {
  readonly threads: number;
  readonly precision: MatmulPrecision;
  /** Of draft heads, which no answer depends on; as fast as can be unless told. */
  readonly draftPrecision?: MatmulPrecision;
  readonly ggmlPath: string | undefined;
  /** Where compiled kernels are kept. */
  readonly kernelCacheFolder: string;
}

/** Throws ENGINE_LIBRARY where a card is asked for by name and cannot be used. */
export function findDevice(name: DeviceName): ChosenDevice {
  if (name === 'cpu') return { cuda: undefined, because: 'asked for by --device' };
  if (name !== 'auto') return { cuda: findCuda(name), because: 'asked for by --device' };
  try {
    return { cuda: findCuda('cuda'), because: 'CUDA and a card that it can use were found' };
  } catch (error) {
    if (!(error instanceof LoraxError)) throw error;
    return { cuda: undefined, because: String(error.params['reason']) };
  }
}

export function openBackend({ cuda }: ChosenDevice, options: BackendOptions): Backend {
  const { threads, precision, draftPrecision = 'medium', ggmlPath, kernelCacheFolder } = options;
  return cuda === undefined
    ? new GgmlBackend({ path: ggmlPath, threads, precision, draftPrecision })
    : new CudaBackend({
        libraries: loadCudaLibraries(),
        ...{ device: cuda, precision, cacheFolder: kernelCacheFolder },
      });
}

function findCuda(name: 'cuda' | `cuda:${number}`): DeviceProperties {
  const [, index] = name.split(':');
  return chooseDevice(listDevices(loadCudaLibraries().driver), index === undefined ? undefined : Number(index));
}

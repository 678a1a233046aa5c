/** What would compute and how, found out without a model: for `lorax doctor`. */

import type { DeviceProperties } from '../backend/cuda/device.ts';
import { architectureName } from '../backend/cuda/kernels.ts';
import { driverVersion } from '../backend/cuda/driver.ts';
import { loadCudaLibraries } from '../backend/cuda/libraries.ts';
import { loadGgml } from '../backend/ggml/library.ts';
import type { CoreCount } from '../config/cores.ts';
import type { ServeOptions } from '../config/options.ts';
import { findDevice } from './backend.ts';
import { chooseThreads } from './threads.ts';

export interface BackendReport {
  readonly library: string;
  readonly version: string;
  readonly variant: string;
  readonly features: readonly string[];
  readonly threads: CoreCount;
  readonly device: {
    readonly name: string;
    readonly because: string;
    /** Of its own; undefined where it shares the machine's. */
    readonly totalBytes: number | undefined;
  };
}

/** Throws ENGINE_LIBRARY where the library or the device that was asked for cannot be used. */
export function describeBackend(options: ServeOptions): BackendReport {
  const { cuda, because } = findDevice(options.device);
  return cuda === undefined ? describeCpu(options, because) : describeCuda(cuda, because);
}

function describeCpu({ ggmlPath, threads, cores }: ServeOptions, because: string): BackendReport {
  const { version, variant = 'unknown', directory } = loadGgml(ggmlPath);
  const device = { name: 'CPU', because, totalBytes: undefined };
  const library = `ggml (${directory})`;
  return { library, version, variant, features: [], threads: chooseThreads(threads, cores, undefined), device };
}

function describeCuda(properties: DeviceProperties, because: string): BackendReport {
  const { index, name, totalBytes } = properties;
  return {
    library: 'CUDA',
    version: driverVersion(loadCudaLibraries().driver),
    variant: architectureName(properties),
    features: [],
    threads: { value: 1, because: 'the card computes' },
    device: { name: `CUDA ${index}: ${name}`, because, totalBytes },
  };
}

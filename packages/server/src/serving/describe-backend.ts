/** What would compute and how, found out without a model: for `lorax doctor`. */

import { architectureName } from '../backend/cuda/architecture.ts';
import type { DeviceProperties } from '../backend/cuda/device.ts';
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
  const { cards, because } = findDevice(options.device, options.numShard);
  const [first] = cards;
  return first === undefined ? describeCpu(options, because) : describeCuda(first, cards, because);
}

function describeCpu({ ggmlPath, threads, cores }: ServeOptions, because: string): BackendReport {
  const { version, variant = 'unknown', directory } = loadGgml(ggmlPath);
  const device = { name: 'CPU', because, totalBytes: undefined };
  const library = `ggml (${directory})`;
  return { library, version, variant, features: [], threads: chooseThreads(threads, cores, undefined), device };
}

/** Each card has an equal part of everything that is divided, so that the smallest one counts. */
function describeCuda(first: DeviceProperties, cards: readonly DeviceProperties[], because: string): BackendReport {
  const { driver, openNccl } = loadCudaLibraries();
  if (cards.length > 1) openNccl();
  const indices = cards.map(({ index }) => index).join(', ');
  const names = [...new Set(cards.map(({ name }) => name))].join(', ');
  const totalBytes = Math.min(...cards.map((card) => card.totalBytes)) * cards.length;
  return {
    library: 'CUDA',
    version: driverVersion(driver),
    variant: architectureName(first),
    features: [],
    threads: { value: 1, because: cards.length === 1 ? 'the card computes' : 'the cards compute' },
    device: { name: `CUDA ${indices}: ${names}`, because, totalBytes },
  };
}

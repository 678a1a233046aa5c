/** Which device computes: the one place that knows all backends. */

import type { Backend } from '../backend/backend.ts';
import { CudaBackend } from '../backend/cuda/cuda-backend.ts';
import { chooseDevices, listDevices, type DeviceProperties } from '../backend/cuda/device.ts';
import type { Compilation } from '../backend/cuda/kernel-modules.ts';
import { loadCudaLibraries } from '../backend/cuda/libraries.ts';
import { GgmlBackend } from '../backend/ggml/ggml-backend.ts';
import type { MatmulPrecision } from '../backend/precision.ts';
import { present } from '../base/assert.ts';
import { LoraxError } from '../base/errors.ts';
import type { DeviceName } from '../config/device-name.ts';

export interface ChosenDevice {
  /** One for each shard of the model; none is the CPU. */
  readonly cards: readonly DeviceProperties[];
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
  /** Ends compiling them. */
  readonly signal: AbortSignal;
  /** Where a card's kernels are: at its first start. */
  readonly onCompiling?: Compilation['onCompiling'];
}

/** Throws ENGINE_LIBRARY where cards are asked for, by name or by number, and cannot be used. */
export function findDevice(name: DeviceName, shardCount = 1): ChosenDevice {
  if (name === 'cpu') return findCpu(shardCount);
  if (name !== 'auto') return { cards: findCards(name, shardCount), because: 'asked for by --device' };
  if (shardCount > 1) return { cards: findCards('cuda', shardCount), because: 'asked for by --num-shard' };
  try {
    return { cards: findCards('cuda', 1), because: 'CUDA and a card that it can use were found' };
  } catch (error) {
    if (!(error instanceof LoraxError)) throw error;
    return { cards: [], because: String(error.params['reason']) };
  }
}

/** For checks: as many shards on cards of their own where there are enough, else all on the first card. */
export function findShards(shardCount: number): ChosenDevice {
  try {
    return findDevice('cuda', shardCount);
  } catch {
    const { cards, because } = findDevice('cuda');
    return { cards: Array.from({ length: shardCount }, () => present(cards[0], 'a card')), because };
  }
}

export async function openBackend({ cards }: ChosenDevice, options: BackendOptions): Promise<Backend> {
  const { threads, precision, draftPrecision = 'medium', ggmlPath, kernelCacheFolder, signal, onCompiling } = options;
  if (cards.length === 0) return new GgmlBackend({ path: ggmlPath, threads, precision, draftPrecision });
  const compilation = { cacheFolder: kernelCacheFolder, signal, onCompiling };
  return CudaBackend.open({ libraries: loadCudaLibraries(), devices: cards, precision, ...compilation });
}

/** Throws OPTION_INVALID where more than one is asked for. */
function findCpu(shardCount: number): ChosenDevice {
  if (shardCount === 1) return { cards: [], because: 'asked for by --device' };
  const reason = `divides the model among ${shardCount} cards, and --device cpu computes on none`;
  throw new LoraxError('OPTION_INVALID', { option: '--num-shard', reason });
}

function findCards(name: 'cuda' | `cuda:${number}`, count: number): DeviceProperties[] {
  const [, index] = name.split(':');
  const devices = listDevices(loadCudaLibraries().driver);
  return chooseDevices(devices, index === undefined ? undefined : Number(index), count);
}

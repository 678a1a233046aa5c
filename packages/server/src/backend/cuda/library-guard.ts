/**
 * CUDA's libraries as one backend calls them: once work on its device does not end, nothing is asked any more and everything
 * fails at once, because the next call might wait for ever. Knows no step; a device that answers with errors is not its concern.
 */

import { CUBLAS_EXECUTION_FAILED } from './cublas.ts';
import type { Driver } from './driver.ts';
import type { CudaLibraries } from './libraries.ts';

/** No step, and no upload between two waits, takes a tenth of it. */
const PATIENCE_MS = 120_000;

const NOT_READY = 600;
const LAUNCH_TIMEOUT = 702;
const NCCL_INTERNAL_ERROR = 3;

type Answer = (...args: never[]) => number;

export function guardLibraries({ driver, nvrtc, cublas, openNccl }: CudaLibraries): CudaLibraries {
  let isStuck = false;
  const unlessStuck = <T extends object>(functions: T, refusal: number): T => {
    const guarded = Object.entries(functions as Record<string, Answer>).map(([name, answer]) => {
      return [name, (...args: never[]) => (isStuck ? refusal : answer(...args))] as const;
    });
    return Object.fromEntries(guarded) as unknown as T;
  };
  const streamQuery = queryUntil(driver, () => (isStuck = true));
  return {
    driver: unlessStuck({ ...driver, streamQuery }, LAUNCH_TIMEOUT),
    nvrtc,
    cublas: unlessStuck(cublas, CUBLAS_EXECUTION_FAILED),
    openNccl: () => unlessStuck(openNccl(), NCCL_INTERNAL_ERROR),
  };
}

/** Asks a stream; one whose work goes on for too long has failed, and with it its device. */
function queryUntil(driver: Driver, onStuck: () => void): Driver['streamQuery'] {
  const busySince = new Map<bigint, number>();
  return (stream) => {
    const result = driver.streamQuery(stream);
    if (result !== NOT_READY) {
      busySince.delete(stream);
      return result;
    }
    const since = busySince.get(stream);
    if (since === undefined) busySince.set(stream, performance.now());
    if (since === undefined || performance.now() - since < PATIENCE_MS) return result;
    onStuck();
    return LAUNCH_TIMEOUT;
  };
}

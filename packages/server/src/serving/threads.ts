/** How many threads compute a step, with the reason. Pure. */

import type { CoreCount } from '../config/cores.ts';

/**
 * Weights that keep one thread busy. Threads of a step meet after every operation and wait there by spinning: below this
 * size the meetings cost more than a second thread brings, and on a busy machine many times the step.
 */
const BYTES_PER_THREAD = 64 << 20;

/** `weightBytes` is undefined where no model is in question. */
export function chooseThreads(asked: number | undefined, cores: CoreCount, weightBytes: number | undefined): CoreCount {
  if (asked !== undefined) return { value: asked, because: 'asked for by --threads' };
  const useful = weightBytes === undefined ? cores.value : Math.max(1, Math.ceil(weightBytes / BYTES_PER_THREAD));
  if (useful >= cores.value) return cores;
  const megabytes = Math.round((weightBytes ?? 0) / (1 << 20));
  return { value: useful, because: `the weights are small (${megabytes} MiB); more threads would only wait` };
}

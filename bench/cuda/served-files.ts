/** A folder for the files of a model, where writing and reading them is fast. Knows no formats. */

import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DTYPE_BYTES } from '#server/weights/tensor-view.ts';
import { parameterCount, type Shape } from '../shapes.ts';

/** In memory, on Linux. */
const MEMORY_FOLDER = '/dev/shm';

/** For adapters, and whoever else needs the folder. */
const SPARE_BYTES = 6e9;

/** Calls `work` with a folder that is kept, or else with one that is gone afterwards. */
export async function* withServedFiles<T>(
  kept: string | undefined,
  shape: Shape,
  work: (folder: string) => AsyncIterable<T>,
): AsyncGenerator<T, void, undefined> {
  if (kept !== undefined) {
    yield* work(kept);
    return;
  }
  const folder = mkdtempSync(join(roomyFolder(shape), 'lorax-bench-'));
  try {
    yield* work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function roomyFolder(shape: Shape): string {
  const needed = parameterCount(shape) * DTYPE_BYTES.bfloat16 + SPARE_BYTES;
  return freeBytes(MEMORY_FOLDER) > needed ? MEMORY_FOLDER : tmpdir();
}

/** None where there is no such folder. */
function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

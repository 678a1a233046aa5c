/** Files that may not be there: absence is an answer, everything else that goes wrong is an error. */

import { errorCode } from './containment.ts';

const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'EINVAL']);

/** Undefined where the work failed because a path does not lead to what it should. */
export async function ifPresent<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (ABSENT.has(errorCode(error))) return undefined;
    throw error;
  }
}

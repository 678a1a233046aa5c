/** Lets other work go on until something is true, and fails instead of waiting for ever. */

import { setTimeout as pause } from 'node:timers/promises';

/** Half a minute at least: far beyond what any step or file takes. */
const MAX_TURNS = 30_000;

export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn === MAX_TURNS) throw new Error(`waited in vain until ${what}`);
    await pause(1);
  }
}

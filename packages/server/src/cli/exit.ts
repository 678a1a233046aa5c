/** How a command ends: exit codes, and errors as the one line that a user reads. */

import { LoraxError } from '../base/errors.ts';

export const EXIT = {
  ok: 0,
  failure: 1,
  /** The command line or the environment asks for what cannot be. */
  usage: 2,
  /** Ended by a signal before it was done: 128 and the number of SIGINT, as shells have it. */
  interrupted: 130,
} as const;

export interface Ending {
  readonly code: number;
  /** For stderr, with its line end; errors that are not the user's keep their stack. */
  readonly text: string;
}

export function endingOf(error: unknown): Ending {
  if (error instanceof LoraxError) {
    const code = error.code === 'OPTION_INVALID' ? EXIT.usage : EXIT.failure;
    return { code, text: `error: ${error.message}\n` };
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: EXIT.failure, text: `error: ${stack}\n` };
}

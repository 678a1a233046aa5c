/** How the readers of weight files say what is wrong: the file's own name, never its folder, and names from inside it cut short. */
import { basename } from 'node:path';
import { LoraxError } from '../base/errors.ts';

/** Long enough for any real tensor name; a hostile one could be megabytes. */
const SHOWN_LEN = 160;

/** Makes the error for a reason; parsers that know no path get one. */
export type Fault = (reason: string) => LoraxError;

/** `FILE_INVALID` for the file or folder at `path`. */
export function fileFault(path: string, reason: string, cause?: unknown): LoraxError {
  return new LoraxError('FILE_INVALID', { file: basename(path), reason }, { cause });
}

/** A name found inside a file, quoted, with control characters escaped. */
export function shown(name: string): string {
  return JSON.stringify(name.length <= SHOWN_LEN ? name : `${name.slice(0, SHOWN_LEN)}…`);
}

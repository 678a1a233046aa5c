/** Where things are in the clone. The tests run compiled, from `tests/dist`. */

import { fileURLToPath } from 'node:url';

export const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

export function inRepository(path: string): string {
  return fileURLToPath(new URL(path, new URL('../../', import.meta.url)));
}

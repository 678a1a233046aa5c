/** Names of adapters at Predibase: `repo/version`, or `repo` for the latest version. */

import { invalidField } from '../base/errors.ts';
import { checkAdapterId } from './adapter-id.ts';

export interface PbaseId {
  /** As the caller wrote it. */
  readonly text: string;
  readonly repo: string;
  readonly version: string | undefined;
}

const MAX_PART_LEN = 256;

/** Throws VALIDATION on `adapter_id`. */
export function parsePbaseId(text: string): PbaseId {
  checkAdapterId(text);
  const parts = text.split('/');
  const isPart = (part: string): boolean => part !== '' && part !== '.' && part !== '..' && part.length <= MAX_PART_LEN;
  const [repo = '', version] = parts;
  if (parts.length > 2 || !parts.every(isPart)) throw invalidField('adapter_id', 'must be `repo/version` or `repo`');
  return { text, repo, version };
}

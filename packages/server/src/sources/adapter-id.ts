/** What any adapter id and token must look like before a source looks at it. Knows nothing about a source's own rules. */

import { invalidField } from '../base/errors.ts';

/** Longer than any path that Linux opens. */
const MAX_ID_LEN = 4096;
const MAX_TOKEN_LEN = 4096;

/** Throws VALIDATION on `adapter_id`. */
export function checkAdapterId(id: string): void {
  const fault = adapterIdFault(id);
  if (fault !== undefined) throw invalidField('adapter_id', fault);
}

/** Why no source takes this id, or undefined. */
export function adapterIdFault(id: string): string | undefined {
  if (id.length === 0) return 'must not be empty';
  if (id.length > MAX_ID_LEN) return `must not be longer than ${MAX_ID_LEN} characters`;
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(id)) return 'must not contain control characters';
  if (/\\|^[a-z]:/i.test(id)) return 'must separate its parts by `/` and name no drive';
  return undefined;
}

/**
 * Whether a token can be sent at all. To be asked before any request, because `fetch` quotes a header value that it rejects
 * in its error message.
 */
export function isToken(token: string): boolean {
  return token.length <= MAX_TOKEN_LEN && /^[\x21-\x7e]+$/.test(token);
}

/** Throws VALIDATION on `api_token`. */
export function checkToken(token: string): void {
  if (!isToken(token)) throw invalidField('api_token', `must be 1 to ${MAX_TOKEN_LEN} visible ASCII characters`);
}

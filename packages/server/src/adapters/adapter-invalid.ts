/** How adapter loading says no: one code, always with the adapter's id. Knows no format. */

import { LoraxError, type ErrorOptions } from '../base/errors.ts';

export function adapterInvalid(adapterId: string, reason: string, options: ErrorOptions = {}): LoraxError {
  return new LoraxError('ADAPTER_INVALID', { adapterId, reason }, options);
}

/** From the field `speculation` to what is asked of the scheduler. Whether there are heads is found there. */

import type { SpeculationParams } from '../scheduler/speculation.ts';
import type { SpeculationField } from './schemas/speculation.ts';

export function speculationParams(field: SpeculationField | null | undefined): SpeculationParams | undefined {
  return field == null ? undefined : { mode: field.mode ?? 'auto', tokens: field.tokens ?? undefined };
}

/** Checks against the limits that the server was started with; the fixed ranges are in the schemas. */

import { invalidField } from '../base/errors.ts';
import type { ServingLimits } from './serving.ts';

type Optional<T> = T | null | undefined;

export function checkAtMost(field: string, value: Optional<number>, limit: number): void {
  if (value != null && value > limit) throw invalidField(field, `must be at most ${limit}`);
}

export function checkStop(stop: readonly string[], { maxStopSequences }: ServingLimits): void {
  if (stop.length > maxStopSequences) throw invalidField('stop', `must have at most ${maxStopSequences} elements`);
}

/** One request's prompts times sequences: more than the server may hold would be refused for ever. */
export function checkSequences(field: string, count: number, { maxSequences }: ServingLimits): void {
  if (count > maxSequences) {
    throw invalidField(
      field,
      `asks for ${count} sequences together with the rest of the request, the most is ${maxSequences}`,
    );
  }
}

/** Reads values of the benchmarks' flags. Throws OPTION_INVALID naming the flag. */

import { LoraxError } from '#server/base/errors.ts';

export function count(option: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 1024) refuse(option, 'must be a whole number from 1 to 1024');
  return value;
}

export function counts(option: string, text: string): number[] {
  return text.split(',').map((item) => count(option, item));
}

export function oneOf<const T extends string>(option: string, text: string, choices: readonly T[]): T {
  const chosen = choices.find((choice) => choice === text);
  return chosen ?? refuse(option, `must be one of ${choices.join(', ')}`);
}

export function refuse(option: string, reason: string): never {
  throw new LoraxError('OPTION_INVALID', { option, reason });
}

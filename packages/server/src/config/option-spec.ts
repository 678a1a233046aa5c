/**
 * What one row of an option table says, and the names that follow from its key: `maxBestOf` is `--max-best-of` on the
 * command line and `MAX_BEST_OF` in the environment. Knows no particular option.
 */

import type { z } from 'zod';

/** How a value is written: the part of a row that depends on the value's type alone. */
export interface ValueForm<T> {
  /** Takes the text as it was written, gives the value. Messages read on after "option --name: ". */
  readonly schema: z.ZodType<T, string>;
  /** What stands for the value in the help; absent for switches, which may stand alone. */
  readonly placeholder?: string;
  readonly choices?: readonly string[];
  /** May be given several times, or once with commas. */
  readonly repeatable?: true;
}

export interface OptionSpec extends ValueForm<unknown> {
  readonly group: string;
  readonly help: string;
  readonly default?: unknown;
  /** In words, how a value that was not given is found. */
  readonly derived?: string;
  readonly short?: string;
  /** `false`: the command line only. */
  readonly env?: false;
  /** A value of the environment variable that other programs put there; it counts as not given. */
  readonly foreignEnv?: (value: string) => boolean;
}

export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** The validated values of a table; without a default, a value that was not given is undefined. */
export type OptionValues<Table extends OptionTable> = {
  readonly [Key in keyof Table]: Table[Key] extends { readonly schema: z.ZodType<infer T, string> }
    ? Table[Key] extends { readonly default: unknown }
      ? T
      : T | undefined
    : never;
};

export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

export function envOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/**
 * Puts option tables on commander commands and reads the validated values back: flag before environment before
 * default. The only reader of `process.env`. Knows no particular option.
 */

import type { Command } from 'commander';

import { LoraxError } from '../base/errors.ts';
import { present } from '../base/assert.ts';
import { declareFlag, givenValue } from './command-flag.ts';
import type { Needs } from './derive.ts';
import { deriveOptions } from './derive.ts';
import { declareLoraxFlags, settleLoraxFlags } from './lorax-flags.ts';
import type { OptionSpec, OptionTable, OptionValues } from './option-spec.ts';
import { envOf } from './option-spec.ts';
import type { ServeOptions } from './options.ts';
import { OPTIONS } from './options.ts';

/** `lorax-launcher` lines of LoRAX's users are lines of `serve`: only there are its flags known. */
export function declareServeOptions(command: Command): void {
  declareTable(command, OPTIONS);
  declareLoraxFlags(command);
}

/** The options of these groups of the server's table; the others keep what the environment or the default says. */
export function declareGroups(command: Command, groups: readonly string[]): void {
  const rows = Object.entries(OPTIONS).filter(([, row]) => groups.includes(row.group));
  declareTable(command, Object.fromEntries(rows));
}

export function declareTable(command: Command, table: OptionTable): void {
  for (const [key, row] of Object.entries(table)) declareFlag(command, key, { ...row, help: helpOf(key, row) });
}

export interface ReadOptions {
  readonly options: ServeOptions;
  /** Sentences for the log: flags that were accepted without an effect. */
  readonly warnings: readonly string[];
}

/** Throws `OPTION_INVALID` naming the flag or the environment variable. */
export function readServeOptions(command: Command, needs: Needs): ReadOptions {
  const warnings = settleLoraxFlags(command, process.env);
  return { options: deriveOptions(readTable(command, OPTIONS), process.env, needs), warnings };
}

/** Throws `OPTION_INVALID` naming the flag or the environment variable. */
export function readTable<Table extends OptionTable>(command: Command, table: Table): OptionValues<Table> {
  const values = Object.entries(table).map(([key, row]) => [key, readRow(command, key, row)]);
  return Object.fromEntries(values) as OptionValues<Table>; // each value came from its own row's schema
}

function readRow(command: Command, key: string, row: OptionSpec): unknown {
  const given = givenValue(command, key);
  if (given === undefined || (isFromEnv(command, key) && row.foreignEnv?.(given.text))) return row.default;
  const result = row.schema.safeParse(given.text);
  if (result.success) return result.data;
  const { message } = present(result.error.issues[0], 'the reason of a rejected value');
  throw new LoraxError('OPTION_INVALID', { option: given.writtenAs, reason: message });
}

function isFromEnv(command: Command, key: string): boolean {
  return command.getOptionValueSource(key) === 'env';
}

function helpOf(key: string, row: OptionSpec): string {
  const choices = row.choices === undefined ? '' : `: ${row.choices.join(', ')}`;
  const fallback = defaultText(row);
  const notes = [fallback === undefined ? [] : `default: ${fallback}`, row.env === false ? [] : `env: ${envOf(key)}`];
  return `${row.help}${choices} (${notes.flat().join('; ')})`.replace(' ()', '');
}

/** The default in words; undefined where there is none to speak of. */
export function defaultText(row: OptionSpec): string | undefined {
  if (row.derived !== undefined) return row.derived;
  if (row.default === undefined || row.default === false) return undefined;
  if (Array.isArray(row.default)) return row.default.length === 0 ? undefined : row.default.join(', ');
  return typeof row.default === 'string' ? row.default : JSON.stringify(row.default);
}

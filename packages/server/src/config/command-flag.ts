/** One flag on a commander command: how it is declared, and what was given for it where. Knows no particular flag. */

import type { Command } from 'commander';
import { Option } from 'commander';

import { LoraxError } from '../base/errors.ts';
import { envOf, flagOf } from './option-spec.ts';
import { REPEAT_SEPARATOR } from './value-forms.ts';

interface FlagForm {
  /** Absent for a switch, which may stand alone. */
  readonly placeholder?: string;
  readonly repeatable?: true;
  readonly short?: string;
  readonly env?: false;
  /** Without help a flag is known and not shown. */
  readonly help?: string;
  readonly group?: string;
}

export interface GivenValue {
  /** As it was written; the values of a repeated flag are joined by `REPEAT_SEPARATOR`. */
  readonly text: string;
  /** How messages name it: the flag, or the environment variable. */
  readonly writtenAs: string;
}

export function declareFlag(command: Command, key: string, form: FlagForm): void {
  const value = form.placeholder === undefined ? '[true|false]' : `<${form.placeholder}>`;
  const names = form.short === undefined ? flagOf(key) : `${form.short}, ${flagOf(key)}`;
  const option = new Option(`${names} ${value}`, form.help).argParser((text: string, earlier: string | undefined) => {
    if (earlier === undefined) return text;
    if (form.repeatable) return `${earlier}${REPEAT_SEPARATOR}${text}`;
    throw new LoraxError('OPTION_INVALID', { option: flagOf(key), reason: 'is given twice' });
  });
  if (form.placeholder === undefined) option.preset('true');
  if (form.env !== false) option.env(envOf(key));
  if (form.group !== undefined) option.helpGroup(`${form.group}:`);
  command.addOption(form.help === undefined ? option.hideHelp() : option);
}

/** An empty environment variable counts as not given: that is how compose files and charts switch one off. */
export function givenValue(command: Command, key: string): GivenValue | undefined {
  const text: unknown = command.getOptionValue(key);
  if (typeof text !== 'string') return undefined;
  if (command.getOptionValueSource(key) !== 'env') return { text, writtenAs: flagOf(key) };
  return text === '' ? undefined : { text, writtenAs: `${envOf(key)} (environment)` };
}

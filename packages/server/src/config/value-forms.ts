/** The ways in which option values are written. Knows no particular option. */

import { resolve } from 'node:path';

import { z } from 'zod';

import type { ValueForm } from './option-spec.ts';

/** Stands between the values of a flag that was given several times: no argument can contain it. */
export const REPEAT_SEPARATOR = '\0';

const LIST_SEPARATORS = new RegExp(`[,${REPEAT_SEPARATOR}]`);
const UINT64_MAX = 2n ** 64n - 1n;

export function integer(min: number, max: number): ValueForm<number> {
  const fits = (text: string) => /^\d+$/.test(text) && Number(text) >= min && Number(text) <= max;
  return { schema: checked(fits, `must be a whole number from ${min} to ${max}`).transform(Number), placeholder: 'N' };
}

export function decimal(min: number, max: number): ValueForm<number> {
  const fits = (text: string) =>
    /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text) && Number(text) >= min && Number(text) <= max;
  return { schema: checked(fits, `must be a number from ${min} to ${max}`).transform(Number), placeholder: 'X' };
}

/** Above 0, at most `max`. */
export function positive(max: number): ValueForm<number> {
  const { schema } = decimal(0, max);
  const fits = (value: number) => value > 0;
  return { schema: schema.refine(fits, `must be more than 0 and at most ${max}`), placeholder: 'X' };
}

export function uint64(): ValueForm<bigint> {
  const fits = (text: string) => /^\d{1,20}$/.test(text) && BigInt(text) <= UINT64_MAX;
  return {
    schema: checked(fits, `must be a whole number from 0 to ${UINT64_MAX}`).transform(BigInt),
    placeholder: 'N',
  };
}

export function text(placeholder: string): ValueForm<string> {
  return { schema: z.string().min(1, 'must not be empty'), placeholder };
}

/** A file or folder; the value is absolute, so that it means the same wherever it is used. */
export function path(placeholder: string): ValueForm<string> {
  const schema = z
    .string()
    .min(1, 'must not be empty')
    .transform((value) => resolve(value));
  return { schema, placeholder };
}

export function choice<const T extends string>(placeholder: string, choices: readonly T[]): ValueForm<T> {
  const isChoice = (value: string): value is T => choices.some((known) => known === value);
  const expected = `must be one of ${choices.join(', ')}`;
  const schema = z.string().transform((value, context): T => {
    if (isChoice(value)) return value;
    context.addIssue(`${expected}, not ${JSON.stringify(value)}`);
    return z.NEVER;
  });
  return { schema, placeholder, choices };
}

/** Values that are given one by one or with commas between them. */
export function list(placeholder: string): ValueForm<readonly string[]> {
  return { schema: z.string().transform(splitList), placeholder, repeatable: true };
}

/** What is given one by one or with commas between, without the spaces around. */
export function splitList(value: string): readonly string[] {
  return value.split(LIST_SEPARATORS).flatMap((item) => item.trim() || []);
}

/** Values that are given one by one: a comma or a space is part of the value. */
export function texts(placeholder: string): ValueForm<readonly string[]> {
  const schema = z.string().transform((value) => value.split(REPEAT_SEPARATOR).filter((item) => item !== ''));
  return { schema, placeholder, repeatable: true };
}

const TRUE_WORDS = ['true', '1', 'yes', 'y', 'on', 't'];
const FALSE_WORDS = ['false', '0', 'no', 'n', 'off', 'f'];

/** On when it stands alone; the words are those that clap, which parsed LoRAX's flags, takes. */
export function toggle(): ValueForm<boolean> {
  const isKnown = (value: string) => [...TRUE_WORDS, ...FALSE_WORDS].includes(value.toLowerCase());
  return { schema: checked(isKnown, 'must be true or false').transform((value) => isTrueWord(value)) };
}

export function isTrueWord(value: string): boolean {
  return TRUE_WORDS.includes(value.toLowerCase());
}

export function isFalseWord(value: string): boolean {
  return FALSE_WORDS.includes(value.toLowerCase());
}

function checked(fits: (value: string) => boolean, expected: string): z.ZodString {
  return z.string().refine(fits, { error: ({ input }) => `${expected}, not ${JSON.stringify(input)}` });
}

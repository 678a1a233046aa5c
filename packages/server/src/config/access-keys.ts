/**
 * How the server's own keys are written: `NAME=KEY`, or `KEY` alone. The first `=` always ends the name, so a key that
 * contains one needs a name in front, or nothing: `=KEY`. Messages never repeat a key. Knows nothing about requests.
 */

import { z } from 'zod';

import type { ValueForm } from './option-spec.ts';
import { splitList } from './value-forms.ts';

export interface AccessKey {
  /** For the log; unlike the key it is no secret. */
  readonly name: string;
  /** Visible ASCII. */
  readonly key: string;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** What an Authorization header can carry; commas stand between keys. */
const KEY = /^[\x21-\x2b\x2d-\x7e]{8,512}$/;

/** An unset variable in a start script must not open the server. */
const EXPECTED_ONE = 'must have a key';
const EXPECTED_NAME = 'must have names of 1 to 64 letters, digits, dots, hyphens and underscores in front of the `=`';
const EXPECTED_KEY =
  'must have keys of 8 to 512 visible ASCII characters without commas; one that contains `=` is written NAME=KEY or =KEY';

/** Keys that are given one by one or with commas between them. Those without a name are called `<prefix>-1`, `-2`, ... by place. */
export function accessKeys(prefix: string): ValueForm<readonly AccessKey[]> {
  const schema = z.string().transform((value, context): readonly AccessKey[] => {
    const keys = splitList(value).map((item, index) => accessKey(item, `${prefix}-${index + 1}`));
    const fault =
      keys.length === 0 ? EXPECTED_ONE : (keys.map(faultOf).find((found) => found !== undefined) ?? clashOf(keys));
    if (fault === undefined) return keys;
    context.addIssue(fault);
    return z.NEVER;
  });
  return { schema, placeholder: 'NAME=KEY', repeatable: true };
}

/** Why these keys cannot stand beside each other; undefined where they can. */
export function clashOf(keys: readonly AccessKey[]): string | undefined {
  const byKey = new Map<string, string>();
  const names = new Set<string>();
  for (const { name, key } of keys) {
    if (names.has(name)) return `must not name two keys ${name}`;
    names.add(name);
    const earlier = byKey.get(key);
    if (earlier !== undefined) return `must not have one key under two names, ${earlier} and ${name}`;
    byKey.set(key, name);
  }
  return undefined;
}

function accessKey(item: string, unnamed: string): AccessKey {
  const at = item.indexOf('=');
  if (at < 0) return { name: unnamed, key: item };
  return { name: at === 0 ? unnamed : item.slice(0, at), key: item.slice(at + 1) };
}

function faultOf({ name, key }: AccessKey): string | undefined {
  if (!NAME.test(name)) return EXPECTED_NAME;
  return KEY.test(key) ? undefined : EXPECTED_KEY;
}

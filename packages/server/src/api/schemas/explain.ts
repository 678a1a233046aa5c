/** Turns a schema's complaint into the one sentence that a caller reads. Knows nothing about what the fields mean. */

import type { z } from '@hono/zod-openapi';
import { invalidField, type LoraxError } from '../../base/errors.ts';

type Issue = z.core.$ZodIssue;

/** The first issue only: one clear sentence beats a list of follow-up errors. */
export function explain(error: z.ZodError): LoraxError {
  const [issue] = error.issues;
  if (issue === undefined) return invalidField('body', 'is not valid');
  return invalidField(fieldName(issue.path), reason(issue));
}

/** `messages[0].role`; LoRAX's `parameters` object is left out, as its own messages and its client's users know the fields bare. */
function fieldName(path: readonly PropertyKey[]): string {
  const shown = path[0] === 'parameters' && path.length > 1 ? path.slice(1) : path;
  const name = shown.reduce<string>(
    (text, key) => text + (typeof key === 'number' ? `[${key}]` : `.${String(key)}`),
    '',
  );
  return name === '' ? 'body' : name.replace(/^\./, '');
}

function reason(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return isMissing(issue) ? 'is required' : `must be ${typeName(issue.expected)}`;
    case 'too_small':
      return bound(issue.origin, issue.inclusive === false ? 'greater than' : 'at least', Number(issue.minimum));
    case 'too_big':
      return bound(issue.origin, issue.inclusive === false ? 'less than' : 'at most', Number(issue.maximum));
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'custom':
      return issue.message;
    default:
      return issue.message.startsWith('must ') ? issue.message : 'is not valid';
  }
}

/** Zod's issues do not keep the input; only the message tells an absent field from a wrong one. */
function isMissing(issue: Issue): boolean {
  return issue.message.endsWith('received undefined');
}

function bound(origin: string, relation: string, limit: number): string {
  if (origin !== 'string' && origin !== 'array') return `must be ${relation} ${limit}`;
  if (relation === 'at least' && limit === 1) return 'must not be empty';
  return `must have ${relation} ${limit} ${origin === 'string' ? 'characters' : 'elements'}`;
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  int: 'an integer',
  number: 'a number',
  string: 'a string',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
};

function typeName(expected: string): string {
  return TYPE_NAMES[expected] ?? `of type ${expected}`;
}

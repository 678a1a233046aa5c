/** The `prompt` of `/v1/completions` in its four shapes. One pass, whatever the length: see the note in its schema. */

import { invalidField } from '../base/errors.ts';
import type { GenerationRequest } from '../scheduler/request.ts';

type Prompt = GenerationRequest['prompt'];

const SHAPES = 'must be a string, a list of strings, a list of token ids, or a list of lists of token ids';

/** At least one prompt, none empty, every token id below `vocabSize`. */
export function parsePrompts(value: unknown, vocabSize: number): Prompt[] {
  if (value === undefined) throw invalidField('prompt', 'is required');
  if (typeof value === 'string') return [textPrompt(value, 'prompt')];
  if (!Array.isArray(value)) throw invalidField('prompt', SHAPES);
  if (value.length === 0) throw invalidField('prompt', 'must not be empty');
  if (typeof value[0] === 'number') return [tokenPrompt(value, 'prompt', vocabSize)];
  const isList = Array.isArray(value[0]);
  return value.map((item: unknown, index) => {
    const field = `prompt[${index}]`;
    if (isList && Array.isArray(item)) return tokenPrompt(item, field, vocabSize);
    if (!isList && typeof item === 'string') return textPrompt(item, field);
    throw invalidField('prompt', SHAPES);
  });
}

function textPrompt(text: string, field: string): Prompt {
  if (text === '') throw invalidField(field, 'must not be empty');
  return { text };
}

function tokenPrompt(tokens: readonly unknown[], field: string, vocabSize: number): Prompt {
  if (tokens.length === 0) throw invalidField(field, 'must not be empty');
  for (const [index, id] of tokens.entries()) {
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw invalidField(`${field}[${index}]`, `must be a token id from 0 to ${vocabSize - 1}`);
  }
  return { tokens: tokens as readonly number[] };
}

/** LoRAX's response headers (behaviour spec 1.7). Whatever a caller chose is escaped, so that no id can break a header. */

import type { Context } from 'hono';
import type { AdapterChoice } from '../base/adapter-reference.ts';
import type { Answer } from './answer.ts';
import { present } from '../base/assert.ts';
import type { ServedModel } from './serving.ts';

export interface AnsweredBy {
  readonly model: ServedModel;
  readonly adapter: AdapterChoice | undefined;
  readonly adapterGeneration: string | undefined;
  /** What the caller sent as text. */
  readonly characterCount: number;
}

/** For streams and whole answers alike. */
export function setIdentityHeaders(
  c: Context,
  { model, adapter, adapterGeneration, characterCount }: AnsweredBy,
): void {
  c.header('x-compute-type', `${model.device}+optimized`);
  c.header('x-compute-characters', String(characterCount));
  c.header('x-model-id', headerSafe(model.id));
  if (adapter === undefined) return;
  const references = 'members' in adapter ? adapter.members.map(({ reference }) => reference) : [adapter];
  c.header('x-adapter-id', joined(references.map(({ id }) => id)));
  c.header('x-adapter-source', joined(references.map(({ source }) => source)));
  if (adapterGeneration !== undefined) c.header('x-adapter-generation', headerSafe(adapterGeneration));
}

/** Counts over all `answers`; times of the one that took longest, as the caller waited for it. */
export function setAnswerHeaders(c: Context, answers: readonly Answer[], promptTokens: number, totalMs: number): void {
  const { times, result } = present(
    answers.toSorted((a, b) => b.times.inferenceMs - a.times.inferenceMs)[0],
    'an answer',
  );
  const generatedTokens = sum(answers, (answer) => answer.result.generatedTokens);
  const tokens = result.generatedTokens;
  const { validationMs, queueMs, inferenceMs, timeToFirstTokenMs } = times;
  const values = {
    'x-compute-time': totalMs,
    'x-total-time': totalMs,
    'x-prompt-tokens': promptTokens,
    'x-generated-tokens': generatedTokens,
    'x-skipped-tokens': sum(answers, (answer) => answer.result.skippedTokens),
    'x-total-tokens': promptTokens + generatedTokens,
    'x-validation-time': validationMs,
    'x-queue-time': queueMs,
    'x-inference-time': inferenceMs,
    'x-time-per-token': inferenceMs / Math.max(tokens, 1),
    'x-time-to-first-token': timeToFirstTokenMs,
    'x-time-per-output-token': (inferenceMs - timeToFirstTokenMs) / Math.max(tokens - 1, 1),
  };
  for (const [name, value] of Object.entries(values)) c.header(name, String(Math.round(value)));
}

/** A comma inside a value would look like two values. */
function joined(values: readonly string[]): string {
  return values
    .map((value) => (values.length === 1 ? headerSafe(value) : headerSafe(value).replaceAll(',', '%2C')))
    .join(',');
}

function sum(answers: readonly Answer[], value: (answer: Answer) => number): number {
  return answers.reduce((total, answer) => total + value(answer), 0);
}

/** Visible ASCII as it is, every other byte of the UTF-8 form (and `%`) percent-encoded. */
export function headerSafe(text: string): string {
  let safe = '';
  for (const byte of Buffer.from(text)) {
    const visible = byte > 0x20 && byte < 0x7f && byte !== 0x25;
    safe += visible ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return safe;
}

/** As Rust counts `chars`: code points. */
export function characterCount(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

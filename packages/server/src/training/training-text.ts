/**
 * What a record of training data says: a conversation, or a prompt with its plain continuation. Reads ShareGPT
 * (`conversations`), OpenAI (`messages`, or the bare array that distillation writes) and `prompt`/`completion` records.
 * Knows no tokenizer.
 */

import { z } from 'zod';
import type { ChatMessage } from '../text/tokenizer.ts';
import { describeProblem } from '../text/tokenizer-files.ts';

export type TrainingText =
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }
  /** The completion is undefined where the record holds only what to ask. */
  | { readonly kind: 'text'; readonly prompt: string; readonly completion: string | undefined };

/** Far above every real conversation. */
const MAX_TURNS = 1024;

/** The names that ShareGPT's exports use, by OpenAI's. */
const SHARE_GPT_ROLES = {
  ...{ human: 'user', user: 'user', system: 'system' },
  ...{ gpt: 'assistant', chatgpt: 'assistant', bing: 'assistant', bard: 'assistant', assistant: 'assistant' },
} as const;

const shareGptRole = z.enum(Object.keys(SHARE_GPT_ROLES) as (keyof typeof SHARE_GPT_ROLES)[]);
const shareGpt = z.object({
  conversations: z
    .array(z.object({ from: shareGptRole, value: z.string() }))
    .min(1)
    .max(MAX_TURNS),
});
const messages = z
  .array(z.looseObject({ role: z.string().min(1), content: z.string() }))
  .min(1)
  .max(MAX_TURNS);
const openAi = z.object({ messages });
const plain = z.object({ prompt: z.string().min(1), completion: z.string().optional() });

/** Says what is wrong, beginning with the field's path. */
export class RecordFault extends Error {}

/** Throws `RecordFault`. */
export function parseRecord(value: unknown): TrainingText {
  if (Array.isArray(value)) return { kind: 'chat', messages: checked(messages, value) };
  if (typeof value !== 'object' || value === null) throw new RecordFault('is neither an object nor an array');
  if ('conversations' in value) return fromShareGpt(checked(shareGpt, value).conversations);
  if ('messages' in value) return { kind: 'chat', messages: checked(openAi, value).messages };
  if (!('prompt' in value)) throw new RecordFault('has neither conversations, messages nor prompt');
  const { prompt, completion } = checked(plain, value);
  return { kind: 'text', prompt, completion };
}

/** Exports that were cut out of longer ones begin in the middle: an answer without its question is left out. */
function fromShareGpt(turns: z.infer<typeof shareGpt>['conversations']): TrainingText {
  const all = turns.map(({ from, value }) => ({ role: SHARE_GPT_ROLES[from], content: value }));
  const kept = all[0]?.role === 'assistant' ? all.slice(1) : all;
  if (kept.length === 0) throw new RecordFault('conversations: holds nothing but an answer');
  return { kind: 'chat', messages: kept };
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new RecordFault(describeProblem(result.error));
}

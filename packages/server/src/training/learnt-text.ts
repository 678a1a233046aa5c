/**
 * A record as the model sees it, with the stretches that the model itself would write: those are learnt. Renders with the
 * model's chat template where it has one, and finds each answer by rendering what stands before and up to it.
 */

import { LoraxError } from '../base/errors.ts';
import type { ChatMessage, Tokenizer } from '../text/tokenizer.ts';
import type { TrainingText } from './training-text.ts';

/** In Unicode code points, end exclusive. */
export interface Stretch {
  readonly start: number;
  readonly stop: number;
}

export interface LearntText {
  readonly text: string;
  /** Templates write their own special tokens. */
  readonly addSpecialTokens: boolean;
  readonly learnt: readonly Stretch[];
  /** Answers that the template renders otherwise in the whole conversation than at its end; they are not learnt. */
  readonly lostTurns: number;
}

export async function learntText(tokenizer: Tokenizer, record: TrainingText, signal: AbortSignal): Promise<LearntText> {
  if (record.kind === 'text') {
    const { prompt, completion } = record;
    if (completion === undefined) throw new LoraxError('VALIDATION', { field: 'completion', reason: 'is missing' });
    return concatenated([
      { role: 'user', content: prompt },
      { role: 'assistant', content: completion },
    ]);
  }
  return tokenizer.hasChatTemplate ? rendered(tokenizer, record.messages, signal) : concatenated(record.messages);
}

/** A model without a template never saw anything between turns. */
function concatenated(messages: readonly ChatMessage[]): LearntText {
  const learnt: Stretch[] = [];
  let text = '';
  let length = 0;
  for (const { role, content } of messages) {
    const start = length;
    text += content;
    length += pointCount(content);
    if (role === 'assistant') learnt.push({ start, stop: length });
  }
  return { text, addSpecialTokens: true, learnt, lostTurns: 0 };
}

async function rendered(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  signal: AbortSignal,
): Promise<LearntText> {
  const render = (count: number, addGenerationPrompt: boolean): Promise<string> =>
    tokenizer.renderChat({ messages: messages.slice(0, count), addGenerationPrompt }, signal);
  const text = await render(messages.length, false);
  const learnt: Stretch[] = [];
  let lostTurns = 0;
  for (const [index, { role, content }] of messages.entries()) {
    if (role !== 'assistant') continue;
    const asked = await render(index, true);
    const stretch = answerIn(text, asked, await render(index + 1, false), content);
    if (stretch) learnt.push(stretch);
    else lostTurns++;
  }
  return { text, addSpecialTokens: false, learnt, lostTurns };
}

/**
 * What `answered` adds to `asked`: the answer and what ends it. White space that the template writes behind the end
 * (ChatML's line feed) is no token of the model's own.
 */
function answerIn(text: string, asked: string, answered: string, content: string): Stretch | undefined {
  if (!answered.startsWith(asked) || !text.startsWith(answered)) return undefined;
  const added = answered.slice(asked.length);
  const at = added.lastIndexOf(content);
  const contentEnd = at === -1 ? 0 : at + content.length;
  const kept = Math.max(contentEnd, added.trimEnd().length);
  const start = pointCount(asked);
  return { start, stop: start + pointCount(added.slice(0, kept)) };
}

function pointCount(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

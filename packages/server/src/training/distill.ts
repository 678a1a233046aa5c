/**
 * `lorax train distill`: the questions of conversations, answered anew by a running server, turn by turn. Heads learn to
 * guess what the served model says, so its own answers are what they must see. Knows no HTTP.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { LoraxError } from '../base/errors.ts';
import type { DistillOptions } from '../config/train-options.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Progress } from '../telemetry/progress.ts';
import type { ChatMessage } from '../text/tokenizer.ts';
import { AnsweringServer, RequestRefused } from './answering-server.ts';
import { readTrainingData } from './data-file.ts';
import { PartialAnswers } from './partial-answers.ts';
import type { TrainingText } from './training-text.ts';

export interface DistillTools {
  readonly log: Pick<Logger, 'warn' | 'info'>;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export interface Distilled {
  readonly recordCount: number;
  /** Conversations that the server refused in the middle; what was answered until then is kept. */
  readonly cutShort: number;
}

export async function distill(wanted: DistillOptions, tools: DistillTools): Promise<Distilled> {
  const input = required(wanted.inputFilename, '--input-filename');
  const output = required(wanted.outputFilename, '--output-filename');
  if (existsSync(output)) {
    throw new LoraxError('OPTION_INVALID', {
      option: '--output-filename',
      reason: `${basename(output)} exists already`,
    });
  }
  const server = new AnsweringServer({ ...wanted, timeoutMs: wanted.requestTimeoutS * 1000 });
  const all = await readTrainingData(input);
  const questions = all.slice(0, wanted.limit);
  const answers = await PartialAnswers.open(output, identityOf(questions, wanted));
  const cutShort = await answerAll(questions, answers, wanted, server, tools);
  const recordCount = await answers.finish();
  if (cutShort > 0) tools.log.warn(`the server refused ${cutShort} conversations at some point; they end before it`);
  return { recordCount, cutShort };
}

/** Several at a time; the first error that is not one conversation's own ends all. Returns how many were refused. */
async function answerAll(
  questions: readonly TrainingText[],
  answers: PartialAnswers,
  { concurrency, plainText }: DistillOptions,
  server: AnsweringServer,
  { progress, signal, log }: DistillTools,
): Promise<number> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const bar = progress.start('answering', questions.length, (count) => `${count} conversations`);
  bar.advance(answers.count);
  const waiting = questions.map((question, index) => ({ question, index })).filter(({ index }) => !answers.has(index));
  let cutShort = 0;
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { record, refusal } = await answer(next.question, plainText, server, either);
      if (refusal !== undefined) {
        cutShort++;
        log.info(`conversation ${next.index + 1} was refused: ${refusal}`);
      }
      await answers.add(next.index, record);
      bar.advance(1);
    }
  };
  const workers = Array.from({ length: concurrency }, () =>
    work().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(workers);
  bar.done();
  // The first error aborts the others, which then carry it as their reason.
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw either.reason;
  return cutShort;
}

interface Answered {
  /** Null where nothing was answered. */
  readonly record: unknown;
  readonly refusal: string | undefined;
}

async function answer(
  question: TrainingText,
  plainText: boolean,
  server: AnsweringServer,
  signal: AbortSignal,
): Promise<Answered> {
  const given = question.kind === 'chat' ? question.messages : [{ role: 'user', content: question.prompt }];
  if (!plainText) return chat(given, server, signal);
  const prompt = given.find(({ role }) => role === 'user')?.content;
  if (prompt === undefined) return { record: null, refusal: 'it asks nothing' };
  try {
    return { record: { prompt, completion: await server.complete(prompt, signal) }, refusal: undefined };
  } catch (error) {
    if (error instanceof RequestRefused) return { record: null, refusal: error.message };
    throw error;
  }
}

/** Every answer of the conversation is replaced by the server's own, which the next question then follows. */
async function chat(given: readonly ChatMessage[], server: AnsweringServer, signal: AbortSignal): Promise<Answered> {
  const history: { role: string; content: string }[] = [];
  let answeredLen = 0;
  try {
    for (const [index, { role, content }] of given.entries()) {
      if (role === 'assistant') continue;
      history.push({ role, content });
      if (role !== 'user' || given[index + 1]?.role === 'user') continue;
      history.push({ role: 'assistant', content: await server.chat(history, signal) });
      answeredLen = history.length;
    }
    return { record: answeredLen === 0 ? null : history.slice(0, answeredLen), refusal: undefined };
  } catch (error) {
    if (!(error instanceof RequestRefused)) throw error;
    return { record: answeredLen === 0 ? null : history.slice(0, answeredLen), refusal: error.message };
  }
}

/** What was asked and how, on one line. */
function identityOf(questions: readonly TrainingText[], wanted: DistillOptions): string {
  const { model, temperature, maxTokens, plainText } = wanted;
  const hash = createHash('sha256').update(JSON.stringify(questions)).digest('hex');
  return JSON.stringify({ questions: hash, model: model ?? '', temperature, maxTokens, plainText });
}

function required(value: string | undefined, option: string): string {
  if (value === undefined) throw new LoraxError('OPTION_INVALID', { option, reason: 'is required' });
  return value;
}

/** What `/v1/completions` and `/v1/chat/completions` share between a checked body and its choices. Knows neither format. */

import type { z } from '@hono/zod-openapi';
import { present } from '../base/assert.ts';
import { invalidField } from '../base/errors.ts';
import type { Generation, GenerationRequest } from '../scheduler/request.ts';
import { modelReference } from './adapter.ts';
import { type Answer, answerAll, bestFirst } from './answer.ts';
import type { Call } from './call.ts';
import { ChoiceText, type Piece, type StopReason } from './choice-text.ts';
import { characterCount, setAnswerHeaders, setIdentityHeaders } from './headers.ts';
import { checkAtMost, checkStop } from './limits.ts';
import { samplingParams } from './sampling.ts';
import type { openaiFields, Usage } from './schemas/openai.ts';
import { speculationParams } from './speculation.ts';

export type OpenAiBody = z.output<z.ZodObject<typeof openaiFields>>;

export interface Job {
  /** The model as the caller wrote it. */
  readonly model: string;
  /** `perPrompt` for each prompt, prompt after prompt. */
  readonly requests: readonly GenerationRequest[];
  readonly perPrompt: number;
  /** How many of `perPrompt` become choices. */
  readonly choicesPerPrompt: number;
}

export interface FinishedChoice {
  readonly index: number;
  readonly piece: Piece;
  readonly finishReason: StopReason;
  readonly answer: Answer;
}

/** What both routes take from the body in the same way; the prompt and what the routes differ in come from them. */
export function commonRequest(
  call: Call,
  body: OpenAiBody,
  own: Pick<GenerationRequest, 'addSpecialTokens' | 'maxNewTokens' | 'promptLogprobs' | 'alternatives'> & {
    readonly doSample: boolean;
  },
): Omit<GenerationRequest, 'prompt'> {
  const { serving } = call.api;
  const { doSample, ...rest } = own;
  const stop = typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []);
  checkStop(stop, serving.limits);
  checkAtMost('n', body.n, serving.limits.maxBestOf);
  if (body.stream_options != null && !body.stream)
    throw invalidField('stream_options', 'is only possible with `stream`');
  return {
    ...rest,
    adapter: modelReference(call.c, body, serving),
    sampling: samplingParams(body, doSample),
    stop,
    ignoreEos: body.ignore_eos_token ?? false,
    truncate: undefined,
    speculation: speculationParams(body.speculation),
  };
}

/** Runs the job to its end and sets the headers. */
export async function finishJob(
  call: Call,
  job: Job,
): Promise<{ readonly choices: FinishedChoice[]; readonly usage: z.infer<typeof Usage> }> {
  const answers = await answerAll(call.api.serving.generator, job.requests, call.signal);
  const groups = grouped(answers, job.perPrompt);
  const chosen = groups.flatMap((group) => choose(group, job.choicesPerPrompt));
  const usage = usageOf(job, answers);
  const generations = answers.map(({ generation }) => generation);
  setJobHeaders(call, job, generations);
  setAnswerHeaders(call.c, answers, usage.prompt_tokens, call.elapsedMs);
  call.answered(answers);
  return { choices: chosen.map(finishedChoice), usage };
}

export function setJobHeaders(call: Call, job: Job, generations: readonly Generation[]): void {
  setIdentityHeaders(call.c, {
    model: call.api.serving.model,
    adapter: job.requests[0]?.adapter,
    adapterGeneration: generations[0]?.adapterGeneration,
    characterCount: sentCharacters(job, generations),
  });
}

/** Of each prompt once; a chat counts as it was rendered, a prompt of token ids not at all. */
function sentCharacters(job: Job, generations: readonly Generation[]): number {
  return job.requests.reduce((sum, { prompt }, index) => {
    if (index % job.perPrompt !== 0 || 'tokens' in prompt) return sum;
    return sum + characterCount('text' in prompt ? prompt.text : (generations[index]?.promptText ?? ''));
  }, 0);
}

/** A prompt counts once however many sequences it got; every generated token counts, chosen or not. */
export function usageOf(job: Job, answers: readonly Pick<Answer, 'generation' | 'result'>[]): z.infer<typeof Usage> {
  const firsts = answers.filter((_, index) => index % job.perPrompt === 0);
  const prompt_tokens = firsts.reduce((sum, { generation }) => sum + generation.promptTokens, 0);
  const completion_tokens = answers.reduce((sum, { result }) => sum + result.generatedTokens, 0);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

function choose(group: readonly Answer[], count: number): readonly Answer[] {
  return group.length === count ? group : bestFirst(group).slice(0, count);
}

function grouped<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: items.length / size }, (_, index) => items.slice(index * size, (index + 1) * size));
}

function finishedChoice(answer: Answer, index: number): FinishedChoice {
  const choice = new ChoiceText(answer.request.stop);
  const pieces = [...answer.tokens.map((token) => choice.push(token)), choice.end(answer.result)];
  const text = pieces.map((piece) => piece.text).join('');
  const tokens = pieces.flatMap((piece) => piece.tokens);
  return { index, answer, piece: { text, tokens }, finishReason: present(pieces.at(-1)?.finishReason, 'the end') };
}

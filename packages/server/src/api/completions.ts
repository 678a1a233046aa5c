/**
 * `/v1/completions`: text or token prompts, each with `n` choices. As in LoRAX, and unlike OpenAI, tokens are sampled only
 * where the body names a sampling parameter or asks for several sequences, and an absent `max_tokens` fills the context.
 */

import { randomUUID } from 'node:crypto';
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { invalidField } from '../base/errors.ts';
import { readBody } from './body.ts';
import { type Call, generationHandler } from './call.ts';
import { CompletionChoiceFormat, type CompletionOptions } from './completion-format.ts';
import type { ApiContext } from './context.ts';
import { checkAtMost, checkSequences } from './limits.ts';
import { commonRequest, finishJob, type Job } from './openai-job.ts';
import { streamJob } from './openai-stream.ts';
import { parsePrompts } from './prompt.ts';
import { namesSampling, variants } from './sampling.ts';
import { CompletionRequest, type CompletionResponse } from './schemas/completions.ts';
import type { ServingLimits } from './serving.ts';

type Body = z.output<typeof CompletionRequest>;

export function addCompletionRoutes(app: OpenAPIHono, api: ApiContext): void {
  app.post(
    '/v1/completions',
    generationHandler(api, async (call) => {
      const body = await readBody(call.c, CompletionRequest, api.serving.limits.maxBodyBytes);
      const job = plan(call, body);
      const options = { echo: body.echo ?? false, logprobs: body.logprobs ?? undefined };
      return body.stream
        ? respondStream(call, job, options, body)
        : call.c.json(await respond(call, job, options), 200);
    }),
  );
}

function plan(call: Call, body: Body): Job {
  const { limits, tokenizer } = call.api.serving;
  const choicesPerPrompt = body.n ?? 1;
  const perPrompt = body.best_of ?? choicesPerPrompt;
  const prompts = parsePrompts(body.prompt, tokenizer.vocabSize);
  checkBody(body, limits);
  checkSequences(perPrompt > 1 ? 'n' : 'prompt', prompts.length * perPrompt, limits);
  const common = commonRequest(call, body, {
    addSpecialTokens: true,
    doSample: namesSampling(body) || (perPrompt > 1 && body.temperature !== 0),
    maxNewTokens: body.max_tokens ?? undefined,
    promptLogprobs: body.echo === true && body.logprobs != null,
    alternatives: body.logprobs ?? 0,
  });
  const sequences = variants(common.sampling, perPrompt);
  const requests = prompts.flatMap((prompt) => sequences.map((sampling) => ({ ...common, prompt, sampling })));
  return { model: body.model, requests, perPrompt, choicesPerPrompt };
}

function checkBody(body: Body, limits: ServingLimits): void {
  const n = body.n ?? 1;
  const bestOf = body.best_of ?? n;
  checkAtMost('best_of', body.best_of, limits.maxBestOf);
  checkAtMost('logprobs', body.logprobs, limits.maxAlternatives);
  if (bestOf < n) throw invalidField('best_of', 'must be at least `n`');
  if (bestOf > n && body.stream) throw invalidField('best_of', 'must not be above `n` with a stream');
  if (body.max_tokens === 0 && !body.echo) throw invalidField('max_tokens', 'must be at least 1 without `echo`');
}

async function respond(call: Call, job: Job, options: CompletionOptions): Promise<z.infer<typeof CompletionResponse>> {
  const { choices, usage } = await finishJob(call, job);
  return {
    ...head(job),
    choices: choices.map(({ index, answer, piece, finishReason }) =>
      new CompletionChoiceFormat(index, options).whole(answer.generation, piece, finishReason),
    ),
    usage,
  };
}

function respondStream(call: Call, job: Job, options: CompletionOptions, body: Body): Promise<Response> {
  return streamJob(call, job, {
    head: head(job),
    includeUsage: body.stream_options?.include_usage ?? false,
    logprobs: options.logprobs !== undefined,
    choice: (index) => new CompletionChoiceFormat(index, options),
  });
}

function head({ model }: Job) {
  const id = `cmpl-${randomUUID().replaceAll('-', '')}`;
  return { id, object: 'text_completion' as const, created: Math.floor(Date.now() / 1000), model };
}

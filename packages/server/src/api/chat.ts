/**
 * `/v1/chat/completions`: messages, for the chat template of whoever answers. As with OpenAI and in LoRAX, tokens are sampled (at
 * temperature 1 where none is given) unless the temperature is 0.
 */

import { randomUUID } from 'node:crypto';
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { invalidField } from '../base/errors.ts';
import type { ChatMessage } from '../text/tokenizer.ts';
import { readBody } from './body.ts';
import { type Call, generationHandler } from './call.ts';
import { ChatChoiceFormat } from './chat-format.ts';
import type { ApiContext } from './context.ts';
import { checkAtMost, checkSequences } from './limits.ts';
import { commonRequest, finishJob, type Job } from './openai-job.ts';
import { streamJob } from './openai-stream.ts';
import { variants } from './sampling.ts';
import { ChatRequest, type ChatResponse } from './schemas/chat.ts';
import type { ServingLimits } from './serving.ts';

type Body = z.output<typeof ChatRequest>;

/** OpenAI's own bound. */
const MAX_TOP_LOGPROBS = 20;

export function addChatRoutes(app: OpenAPIHono, api: ApiContext): void {
  app.post(
    '/v1/chat/completions',
    generationHandler(api, async (call) => {
      const body = await readBody(call.c, ChatRequest, api.serving.limits.maxBodyBytes);
      const job = plan(call, body);
      return body.stream ? respondStream(call, job, body) : call.c.json(await respond(call, job, body), 200);
    }),
  );
}

function plan(call: Call, body: Body): Job {
  const { limits } = call.api.serving;
  const count = body.n ?? 1;
  checkBody(body, limits);
  checkSequences('n', count, limits);
  const common = commonRequest(call, body, {
    addSpecialTokens: false, // the template writes its own
    doSample: body.temperature !== 0,
    maxNewTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    promptLogprobs: false,
    alternatives: body.top_logprobs ?? 0,
  });
  const variables = body.guideline == null ? {} : { guideline: body.guideline };
  const chat = { messages: body.messages.map(templateMessage), addGenerationPrompt: true, variables };
  const prompt = { chat };
  const requests = variants(common.sampling, count).map((sampling) => ({ ...common, prompt, sampling }));
  return { model: body.model, requests, perPrompt: count, choicesPerPrompt: count };
}

function checkBody(body: Body, limits: ServingLimits): void {
  checkAtMost('top_logprobs', body.top_logprobs, Math.min(MAX_TOP_LOGPROBS, limits.maxAlternatives));
  if (body.top_logprobs != null && !body.logprobs)
    throw invalidField('top_logprobs', 'is only possible with `logprobs`');
}

/** Templates expect text: the parts are joined, and an assistant's missing content is empty. */
function templateMessage({ content, ...rest }: Body['messages'][number]): ChatMessage {
  const text = typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join('');
  return { ...rest, content: text };
}

async function respond(call: Call, job: Job, body: Body): Promise<z.infer<typeof ChatResponse>> {
  const { choices, usage } = await finishJob(call, job);
  return {
    ...head(job),
    object: 'chat.completion',
    choices: choices.map(({ index, piece, finishReason }) =>
      new ChatChoiceFormat(index, body.logprobs ?? false).whole(piece, finishReason),
    ),
    usage,
  };
}

function respondStream(call: Call, job: Job, body: Body): Promise<Response> {
  return streamJob(call, job, {
    head: { ...head(job), object: 'chat.completion.chunk' },
    includeUsage: body.stream_options?.include_usage ?? false,
    logprobs: body.logprobs ?? false,
    choice: (index) => new ChatChoiceFormat(index, body.logprobs ?? false),
  });
}

function head({ model }: Job) {
  const id = `chatcmpl-${randomUUID().replaceAll('-', '')}`;
  return { id, created: Math.floor(Date.now() / 1000), model };
}

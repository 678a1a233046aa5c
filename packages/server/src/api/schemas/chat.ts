/** Bodies of `/v1/chat/completions`, in and out. */

import { z } from '@hono/zod-openapi';
import { isEmpty, isTextFormat, list, nonNegativeInt, positiveInt, unsupported } from './fields.ts';
import { openaiFields, StopReason, Usage } from './openai.ts';

const TextPart = z.object({
  type: z.literal('text'),
  text: z.string(),
});

const textParts = list(TextPart, {
  type: 'object',
  properties: { type: { type: 'string', enum: ['text'] }, text: { type: 'string' } },
  required: ['type', 'text'],
});

const Content = z.union([z.string(), textParts], {
  error: 'must be a string or a list of text parts (other content is not supported yet)',
});

/** Fields beyond these two go to the chat template as they are. */
export const ChatMessage = z
  .looseObject({ role: z.string().min(1), content: Content.nullish() })
  .openapi('ChatMessage');

const isToolChoiceOff = (value: unknown): boolean => value === 'none' || value === 'auto';
const isTextOnly = (value: unknown): boolean => Array.isArray(value) && value.every((item) => item === 'text');

export const ChatRequest = z
  .object({
    ...openaiFields,
    messages: list(ChatMessage, { $ref: '#/components/schemas/ChatMessage' }).refine(
      (messages) => messages.length > 0,
      {
        error: 'must not be empty',
      },
    ),
    max_tokens: positiveInt.nullish().openapi({ deprecated: true }),
    max_completion_tokens: positiveInt.nullish().openapi({ description: 'Absent: as many as the context holds.' }),
    logprobs: z.boolean().nullish(),
    top_logprobs: nonNegativeInt.nullish(),
    guideline: z.string().nullish().openapi({ description: 'A variable for chat templates that use it.' }),
    tools: unsupported(isEmpty),
    tool_choice: unsupported(isToolChoiceOff),
    tool_prompt: unsupported((value) => value === ''),
    functions: unsupported(isEmpty),
    function_call: unsupported(isToolChoiceOff),
    response_format: unsupported(isTextFormat),
    modalities: unsupported(isTextOnly),
    audio: unsupported(),
  })
  .openapi('ChatCompletionRequest');

const TokenLogprob = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(nonNegativeInt) });

const ChatLogprobs = z
  .object({
    content: z.array(TokenLogprob.extend({ top_logprobs: z.array(TokenLogprob) })),
    refusal: z.null(),
  })
  .openapi('ChatLogprobs');

const ChatChoice = z
  .object({
    index: nonNegativeInt,
    message: z.object({ role: z.literal('assistant'), content: z.string(), refusal: z.null() }),
    logprobs: ChatLogprobs.nullable(),
    finish_reason: StopReason,
  })
  .openapi('ChatChoice');

const ChunkChoice = z
  .object({
    index: nonNegativeInt,
    delta: z.object({ role: z.literal('assistant').optional(), content: z.string().optional() }),
    logprobs: ChatLogprobs.nullable(),
    finish_reason: StopReason.nullable(),
  })
  .openapi('ChatChunkChoice');

const head = { id: z.string(), created: nonNegativeInt, model: z.string() };

export const ChatResponse = z
  .object({ ...head, object: z.literal('chat.completion'), choices: z.array(ChatChoice), usage: Usage })
  .openapi('ChatCompletionResponse');

export const ChatChunk = z
  .object({
    ...head,
    object: z.literal('chat.completion.chunk'),
    choices: z.array(ChunkChoice),
    usage: Usage.nullable().optional(),
  })
  .openapi('ChatCompletionChunk');

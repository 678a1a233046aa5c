/** Bodies of `/v1/completions`, in and out. */

import { z } from '@hono/zod-openapi';
import { nonNegativeInt, positiveInt, unsupported } from './fields.ts';
import { openaiFields, StopReason, Usage } from './openai.ts';

const tokenIds = { type: 'array' as const, items: { type: 'integer' as const, minimum: 0 }, minItems: 1 };

export const CompletionRequest = z
  .object({
    ...openaiFields,
    // Checked by prompt.ts in one pass: a union of four shapes would walk a long list once for each.
    prompt: z.unknown().openapi({
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1 },
        tokenIds,
        { type: 'array', items: tokenIds, minItems: 1 },
      ],
    }),
    max_tokens: nonNegativeInt.nullish().openapi({
      description: 'Absent: as many as the context holds. 0 only with `echo`.',
    }),
    best_of: positiveInt.nullish(),
    logprobs: nonNegativeInt.nullish(),
    echo: z.boolean().nullish(),
    suffix: unsupported((value) => value === ''),
  })
  .openapi('CompletionRequest');

const CompletionLogprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullable(),
    text_offset: z.array(nonNegativeInt),
  })
  .openapi('CompletionLogprobs');

export const CompletionChoice = z
  .object({
    index: nonNegativeInt,
    text: z.string(),
    logprobs: CompletionLogprobs.nullable(),
    finish_reason: StopReason.nullable(),
  })
  .openapi('CompletionChoice');

export const CompletionResponse = z
  .object({
    id: z.string(),
    object: z.literal('text_completion'),
    created: nonNegativeInt,
    model: z.string(),
    choices: z.array(CompletionChoice),
    usage: Usage.nullable().optional(),
  })
  .openapi('CompletionResponse');

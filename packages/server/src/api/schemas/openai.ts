/** What the two OpenAI generation routes have in common: usage, stream options, errors and the model list. */

import { z } from '@hono/zod-openapi';
import { adapterFields } from './adapter.ts';
import {
  adapterId,
  isEmpty,
  nonNegativeInt,
  positiveInt,
  samplingFields,
  stopStringOrList,
  unsupported,
} from './fields.ts';
import { speculationFields } from './speculation.ts';

export const openaiFields = {
  ...adapterFields,
  ...samplingFields,
  ...speculationFields,
  model: adapterId.openapi({ description: 'The base model or "" for the base, otherwise an adapter id.' }),
  n: positiveInt.nullish(),
  stop: stopStringOrList.nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  user: z.string().nullish(),
  logit_bias: unsupported(isEmpty),
};

export const Usage = z
  .object({ prompt_tokens: nonNegativeInt, completion_tokens: nonNegativeInt, total_tokens: nonNegativeInt })
  .openapi('Usage');

export const StopReason = z.enum(['stop', 'length']).openapi('StopReason');

export const Model = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: nonNegativeInt,
    owned_by: z.string(),
    parent: z.string().nullable().openapi({ description: 'The base model of an adapter.' }),
    root: z.string().optional().openapi({ description: 'Where `id` is a name: the id of the adapter.' }),
    adapter_source: z.string().optional(),
    adapter_generation: z.string().optional(),
  })
  .openapi('Model');

export const ModelList = z.object({ object: z.literal('list'), data: z.array(Model) }).openapi('ModelList');

export const OpenAiError = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string(),
      details: z.unknown().optional(),
    }),
  })
  .openapi('OpenAiErrorResponse');

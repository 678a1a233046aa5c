/** Bodies of LoRAX's own routes, in and out: `/generate`, `/generate_stream`, `/` and `/invocations`. */

import { z } from '@hono/zod-openapi';
import { adapterFields } from './adapter.ts';
import { isTextFormat, nonNegativeInt, positiveInt, samplingFields, stopList, unsupported } from './fields.ts';
import { speculationFields } from './speculation.ts';

const flag = z.boolean().nullish();

const Parameters = z
  .object({
    ...adapterFields,
    ...samplingFields,
    ...speculationFields,
    best_of: positiveInt.nullish(),
    do_sample: flag,
    max_new_tokens: positiveInt.nullish().openapi({ description: 'Absent: as many as the context holds.' }),
    return_full_text: flag.openapi({ description: 'Put the prompt in front of `generated_text`.' }),
    stop: stopList.nullish(),
    truncate: positiveInt.nullish().openapi({ description: 'Keep only the last so many tokens of the prompt.' }),
    watermark: flag,
    details: flag,
    decoder_input_details: flag.openapi({ description: 'Log-probabilities of the prompt; not with a stream.' }),
    return_k_alternatives: positiveInt.nullish(),
    apply_chat_template: flag.openapi({ description: 'Accepted for compatibility; the inputs are used as they are.' }),
    response_format: unsupported(isTextFormat),
  })
  .openapi('GenerateParameters');

const inputs = z.string().min(1);

export const GenerateRequest = z.object({ inputs, parameters: Parameters.nullish() }).openapi('GenerateRequest');

export const CompatGenerateRequest = GenerateRequest.extend({ stream: flag }).openapi('CompatGenerateRequest');

const FinishReason = z.enum(['length', 'eos_token', 'stop_sequence']).openapi('FinishReason');

const WireSeed = z
  .union([nonNegativeInt, z.string()])
  .nullable()
  .openapi({ description: 'Only where tokens were sampled; a decimal string beyond 2^53 - 1.' });

const AlternativeToken = z
  .object({ id: nonNegativeInt, text: z.string(), logprob: z.number() })
  .openapi('AlternativeToken');

const InputToken = z
  .object({ id: nonNegativeInt, text: z.string(), logprob: z.number().nullable() })
  .openapi('InputToken');

export const Token = z
  .object({
    id: nonNegativeInt,
    text: z.string(),
    logprob: z.number(),
    special: z.boolean(),
    skipped: z.boolean().openapi({ description: 'Accepted from a draft.' }),
    alternative_tokens: z.array(AlternativeToken).optional(),
  })
  .openapi('Token');

const BestOfSequence = z
  .object({
    generated_text: z.string(),
    finish_reason: FinishReason,
    generated_tokens: nonNegativeInt,
    seed: WireSeed,
    prefill: z.array(InputToken),
    tokens: z.array(Token),
  })
  .openapi('BestOfSequence');

const adapterGeneration = z
  .string()
  .nullable()
  .openapi({ description: 'Content identity of the adapter that answered.' });

export const Details = z
  .object({
    finish_reason: FinishReason,
    prompt_tokens: nonNegativeInt,
    generated_tokens: nonNegativeInt,
    skipped_tokens: nonNegativeInt,
    seed: WireSeed,
    adapter_generation: adapterGeneration,
    prefill: z.array(InputToken),
    tokens: z.array(Token),
    best_of_sequences: z.array(BestOfSequence).optional(),
  })
  .openapi('Details');

export const GenerateResponse = z
  .object({ generated_text: z.string(), details: Details.optional() })
  .openapi('GenerateResponse');

export const StreamDetails = Details.omit({ prefill: true, tokens: true, best_of_sequences: true }).openapi(
  'StreamDetails',
);

export const StreamResponse = z
  .object({
    token: Token,
    generated_text: z.string().nullable().openapi({ description: 'With the last event only.' }),
    details: StreamDetails.nullable(),
  })
  .openapi('StreamResponse');

export const NativeError = z
  .object({ error: z.string(), error_type: z.string(), details: z.unknown().optional() })
  .openapi('ErrorResponse');

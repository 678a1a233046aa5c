/** Finished answers as LoRAX's response objects (behaviour spec 1.6). */

import type { z } from '@hono/zod-openapi';
import { present } from '../base/assert.ts';
import type { GeneratedToken, Generation, GenerationResult } from '../scheduler/request.ts';
import type { Answer } from './answer.ts';
import { wireSeed } from './sampling.ts';
import type { Details, GenerateResponse, StreamDetails, Token } from './schemas/native.ts';

export interface FormatOptions {
  readonly return_full_text?: boolean | null | undefined;
  readonly details?: boolean | null | undefined;
  readonly decoder_input_details?: boolean | null | undefined;
}

/** `ranked`: the best answer first; the others become `best_of_sequences`. */
export function generateResponse(ranked: readonly Answer[], options: FormatOptions): z.infer<typeof GenerateResponse> {
  const [best, ...others] = ranked;
  const { generation, result, tokens } = present(best, 'an answer');
  const generated_text = fullText(generation, result, options);
  if (!options.details && !options.decoder_input_details) return { generated_text };
  const details: z.infer<typeof Details> = {
    ...streamDetails(generation, result),
    prefill: [...generation.prompt],
    tokens: tokens.map(wireToken),
  };
  if (others.length > 0) details.best_of_sequences = others.map((answer) => bestOfSequence(answer, options));
  return { generated_text, details };
}

export function streamDetails(generation: Generation, result: GenerationResult): z.infer<typeof StreamDetails> {
  return {
    finish_reason: result.finishReason,
    prompt_tokens: generation.promptTokens,
    generated_tokens: result.generatedTokens,
    skipped_tokens: result.skippedTokens,
    seed: wireSeed(result.seed),
    adapter_generation: generation.adapterGeneration ?? null,
  };
}

export function fullText({ promptText }: Generation, { text }: GenerationResult, options: FormatOptions): string {
  return options.return_full_text ? promptText + text : text;
}

export function wireToken({ alternatives, ...token }: GeneratedToken): z.infer<typeof Token> {
  return alternatives === undefined ? token : { ...token, alternative_tokens: [...alternatives] };
}

function bestOfSequence({ generation, result, tokens }: Answer, options: FormatOptions) {
  return {
    generated_text: fullText(generation, result, options),
    finish_reason: result.finishReason,
    generated_tokens: result.generatedTokens,
    seed: wireSeed(result.seed),
    prefill: [...generation.prompt],
    tokens: tokens.map(wireToken),
  };
}

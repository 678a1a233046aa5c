/** Runs requests to their end and keeps what came. Knows no wire format. */

import { LoraxError } from '../base/errors.ts';
import type {
  GeneratedToken,
  Generation,
  GenerationEvent,
  GenerationRequest,
  GenerationResult,
  GenerationTimes,
  Generator,
} from '../scheduler/request.ts';

export interface Answer {
  readonly request: GenerationRequest;
  readonly generation: Generation;
  readonly tokens: readonly GeneratedToken[];
  readonly result: GenerationResult;
  readonly times: GenerationTimes;
}

/** All at once, in the order of the requests. The caller aborts `signal` where one fails, which ends the others. */
export function answerAll(
  generator: Generator,
  requests: readonly GenerationRequest[],
  signal: AbortSignal,
): Promise<Answer[]> {
  return Promise.all(requests.map((request) => answer(generator, request, signal)));
}

async function answer(generator: Generator, request: GenerationRequest, signal: AbortSignal): Promise<Answer> {
  const generation = await generator.generate(request, signal);
  const tokens: GeneratedToken[] = [];
  let end: Extract<GenerationEvent, { kind: 'end' }> | undefined;
  for await (const event of generation.events) {
    if (event.kind === 'end') end = event;
    else tokens.push(event.token);
  }
  if (end === undefined) throw new LoraxError('INCOMPLETE_GENERATION');
  return { request, generation, tokens, result: end.result, times: end.times };
}

/** Best first: by the mean log-probability of the tokens, as LoRAX's `best_of`; ties keep their order. */
export function bestFirst(answers: readonly Answer[]): Answer[] {
  return answers.toSorted((a, b) => meanLogprob(b) - meanLogprob(a));
}

function meanLogprob({ tokens }: Answer): number {
  if (tokens.length === 0) return Number.NEGATIVE_INFINITY;
  return tokens.reduce((sum, token) => sum + token.logprob, 0) / tokens.length;
}

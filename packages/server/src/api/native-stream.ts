/** A generation as LoRAX's stream events: one per token, the last with the whole text and the details. */

import type { z } from '@hono/zod-openapi';
import { LoraxError } from '../base/errors.ts';
import type { GeneratedToken, Generation, GenerationEvent, GenerationRequest } from '../scheduler/request.ts';
import type { Call } from './call.ts';
import { nativeError } from './errors.ts';
import { primed } from './interleave.ts';
import { type FormatOptions, fullText, streamDetails, wireToken } from './native-format.ts';
import type { StreamResponse } from './schemas/native.ts';
import { sse } from './sse.ts';

type EndEvent = Extract<GenerationEvent, { kind: 'end' }>;

/** Resolves when the first token is there, so that what fails before it keeps its status. */
export async function streamNative(
  call: Call,
  request: GenerationRequest,
  generation: Generation,
  options: FormatOptions,
): Promise<Response> {
  return sse(call, await primed(responses(call, request, generation, options)), { error: nativeError });
}

async function* responses(
  call: Call,
  request: GenerationRequest,
  generation: Generation,
  options: FormatOptions,
): AsyncGenerator<z.infer<typeof StreamResponse>, void, undefined> {
  for await (const { token, end } of withEnd(generation.events)) {
    if (end === undefined) {
      yield { token: wireToken(token), generated_text: null, details: null };
      continue;
    }
    const { result, times } = end;
    call.observe({ request, generation, result, times });
    yield {
      token: wireToken(token),
      generated_text: fullText(generation, result, options),
      details: options.details ? streamDetails(generation, result) : null,
    };
  }
}

/**
 * Tokens, the last with the end of the generation: LoRAX's last event carries both. The scheduler sends the two together, so
 * one turn of the event loop tells whether a token is the last, and no token waits for the next step.
 */
async function* withEnd(
  events: AsyncIterable<GenerationEvent>,
): AsyncGenerator<{ readonly token: GeneratedToken; readonly end?: EndEvent }, void, undefined> {
  const iterator = events[Symbol.asyncIterator]();
  let last: GeneratedToken | undefined;
  let next = iterator.next();
  for (;;) {
    const event = value(await next);
    if (event.kind === 'end') {
      // It came alone after all: its event repeats the last token without text, as the wire wants a token in each.
      if (last === undefined) throw new LoraxError('INCOMPLETE_GENERATION');
      yield { token: { ...last, text: '', special: true }, end: event };
      return;
    }
    last = event.token;
    next = iterator.next();
    // An error waits for its turn: this token came before it.
    const soon = await Promise.race([next, nextTurn()]).catch(() => undefined);
    if (soon?.done === false && soon.value.kind === 'end') {
      yield { token: last, end: soon.value };
      return;
    }
    yield { token: last };
  }
}

function value(step: IteratorResult<GenerationEvent, unknown>): GenerationEvent {
  if (step.done === true) throw new LoraxError('INCOMPLETE_GENERATION');
  return step.value;
}

function nextTurn(): Promise<undefined> {
  return new Promise((resolve) => setImmediate(() => resolve(undefined)));
}

/** A job as OpenAI's chunks: the choices interleaved as their tokens come, then the usage. Knows neither route's chunk. */

import { present } from '../base/assert.ts';
import { LoraxError } from '../base/errors.ts';
import type { Generation, GenerationEvent, GenerationResult } from '../scheduler/request.ts';
import type { Call } from './call.ts';
import { ChoiceText, type Piece, type StopReason } from './choice-text.ts';
import { openaiError } from './errors.ts';
import { interleave, primed } from './interleave.ts';
import { type Job, setJobHeaders, usageOf } from './openai-job.ts';
import { sse } from './sse.ts';

/** Makes the chunks of one choice. */
export interface ChoiceFormat {
  /** Sent before everything else of the choice, where there is something to say. */
  opening(generation: Generation): object | undefined;
  piece(piece: Piece): object;
  ending(finishReason: StopReason): object;
}

export interface StreamFormat {
  /** `id`, `object`, `created` and `model`: the same in every chunk. */
  readonly head: object;
  readonly includeUsage: boolean;
  /** Whether tokens without text are worth a chunk. */
  readonly logprobs: boolean;
  choice(index: number): ChoiceFormat;
}

/** Resolves when the first token of any choice is there, so that what fails before it keeps its status. */
export async function streamJob(call: Call, job: Job, format: StreamFormat): Promise<Response> {
  const generations = await Promise.all(
    job.requests.map((request) => call.api.serving.generator.generate(request, call.signal)),
  );
  setJobHeaders(call, job, generations);
  const events = await primed(chunks(call, job, generations, format));
  return sse(call, events, { error: openaiError, terminator: '[DONE]' });
}

async function* chunks(
  call: Call,
  job: Job,
  generations: readonly Generation[],
  { head, includeUsage, ...format }: StreamFormat,
): AsyncGenerator<object, void, undefined> {
  const writers = generations.map(
    (generation, index) =>
      new ChoiceWriter(
        generation,
        present(job.requests[index], 'the request').stop,
        format.choice(index),
        format.logprobs,
      ),
  );
  const results: GenerationResult[] = [];
  const usage = includeUsage ? { usage: null } : {};
  for await (const { index, item } of interleave(generations.map(({ events }) => events))) {
    for (const choice of present(writers[index], 'the writer').write(item))
      yield { ...head, choices: [choice], ...usage };
    if (item.kind === 'token') continue;
    results[index] = item.result;
    const request = present(job.requests[index], 'the request');
    const generation = present(generations[index], 'the generation');
    call.observe({ request, generation, result: item.result, times: item.times });
  }
  const answers = generations.map((generation, index) => ({ generation, result: completed(results[index]) }));
  if (includeUsage) yield { ...head, choices: [], usage: usageOf(job, answers) };
}

class ChoiceWriter {
  readonly #generation: Generation;
  readonly #text: ChoiceText;
  readonly #format: ChoiceFormat;
  readonly #logprobs: boolean;
  #opened = false;

  constructor(generation: Generation, stop: readonly string[], format: ChoiceFormat, logprobs: boolean) {
    this.#generation = generation;
    this.#text = new ChoiceText(stop);
    this.#format = format;
    this.#logprobs = logprobs;
  }

  *write(event: GenerationEvent): Generator<object, void, undefined> {
    const opening = this.#opened ? undefined : this.#format.opening(this.#generation);
    this.#opened = true;
    if (opening !== undefined) yield opening;
    const piece = event.kind === 'end' ? this.#text.end(event.result) : this.#text.push(event.token);
    if (piece.text !== '' || (this.#logprobs && piece.tokens.length > 0)) yield this.#format.piece(piece);
    if (piece.finishReason !== undefined) yield this.#format.ending(piece.finishReason);
  }
}

function completed(result: GenerationResult | undefined): GenerationResult {
  if (result === undefined) throw new LoraxError('INCOMPLETE_GENERATION');
  return result;
}

/**
 * LoRAX's own generation routes: `/generate`, `/generate_stream`, and `/` with its alias `/invocations`, where the body
 * says whether to stream and a whole answer is a list of one. Greedy unless the parameters say otherwise (spec 9.1).
 */

import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { present } from '../base/assert.ts';
import { invalidField } from '../base/errors.ts';
import type { GenerationRequest } from '../scheduler/request.ts';
import { adapterReference } from './adapter.ts';
import { answerAll, bestFirst } from './answer.ts';
import { readBody } from './body.ts';
import { type Call, generationHandler } from './call.ts';
import type { ApiContext } from './context.ts';
import { characterCount, setAnswerHeaders, setIdentityHeaders } from './headers.ts';
import { checkAtMost, checkSequences, checkStop } from './limits.ts';
import { generateResponse } from './native-format.ts';
import { streamNative } from './native-stream.ts';
import { namesSampling, samplingParams, variants } from './sampling.ts';
import { CompatGenerateRequest, GenerateRequest } from './schemas/native.ts';
import type { ServingLimits } from './serving.ts';
import { speculationParams } from './speculation.ts';

export type NativeBody = z.output<typeof GenerateRequest>;
type NativeParameters = NonNullable<NativeBody['parameters']>;

export function addNativeRoutes(app: OpenAPIHono, api: ApiContext): void {
  const { maxBodyBytes } = api.serving.limits;
  app.post(
    '/generate',
    generationHandler(api, async (call) => {
      const body = await readBody(call.c, GenerateRequest, maxBodyBytes);
      return call.c.json(await answerNative(call, body), 200);
    }),
  );
  app.post(
    '/generate_stream',
    generationHandler(api, async (call) => respondStream(call, await readBody(call.c, GenerateRequest, maxBodyBytes))),
  );
  const compatible = generationHandler(api, async (call) => {
    const body = await readBody(call.c, CompatGenerateRequest, maxBodyBytes);
    return body.stream ? respondStream(call, body) : call.c.json([await answerNative(call, body)], 200);
  });
  app.post('/', compatible);
  app.post('/invocations', compatible);
}

async function answerNative(call: Call, body: NativeBody): Promise<ReturnType<typeof generateResponse>> {
  const parameters = body.parameters ?? {};
  const request = generationRequest(call, body);
  const requests = variants(request.sampling, parameters.best_of ?? 1).map((sampling) => ({ ...request, sampling }));
  const ranked = bestFirst(await answerAll(call.api.serving.generator, requests, call.signal));
  const best = present(ranked[0], 'an answer');
  setHeaders(call, body, request, best.generation.adapterGeneration);
  setAnswerHeaders(call.c, [best], best.generation.promptTokens, call.elapsedMs);
  call.answered(ranked);
  return generateResponse(ranked, parameters);
}

async function respondStream(call: Call, body: NativeBody): Promise<Response> {
  const parameters = body.parameters ?? {};
  if (parameters.decoder_input_details) throw invalidField('decoder_input_details', 'is not possible with a stream');
  if ((parameters.best_of ?? 1) !== 1) throw invalidField('best_of', 'must be 1 with a stream');
  const request = generationRequest(call, body);
  const generation = await call.api.serving.generator.generate(request, call.signal);
  setHeaders(call, body, request, generation.adapterGeneration);
  return streamNative(call, request, generation, parameters);
}

function generationRequest(call: Call, body: NativeBody): GenerationRequest {
  const { serving } = call.api;
  const parameters = body.parameters ?? {};
  checkParameters(parameters, serving.limits);
  const doSample = parameters.do_sample === true || (parameters.best_of ?? 1) > 1;
  return {
    prompt: { text: body.inputs },
    addSpecialTokens: true,
    adapter: adapterReference(call.c, parameters, serving),
    sampling: samplingParams(parameters, doSample),
    maxNewTokens: parameters.max_new_tokens ?? undefined,
    stop: parameters.stop ?? [],
    ignoreEos: parameters.ignore_eos_token ?? false,
    truncate: parameters.truncate ?? undefined,
    promptLogprobs: parameters.decoder_input_details ?? false,
    alternatives: parameters.return_k_alternatives ?? 0,
    speculation: speculationParams(parameters.speculation),
  };
}

function checkParameters(parameters: NativeParameters, limits: ServingLimits): void {
  const bestOf = parameters.best_of ?? 1;
  checkAtMost('best_of', bestOf, limits.maxBestOf);
  checkSequences('best_of', bestOf, limits);
  if (bestOf > 1 && !parameters.do_sample && !namesSampling(parameters)) {
    throw invalidField('best_of', 'must be 1 when nothing is sampled');
  }
  if (bestOf > 1 && parameters.seed != null) throw invalidField('seed', 'must not be set when `best_of` is above 1');
  checkAtMost('truncate', parameters.truncate, limits.maxInputLength);
  checkAtMost('return_k_alternatives', parameters.return_k_alternatives, limits.maxAlternatives);
  checkStop(parameters.stop ?? [], limits);
}

function setHeaders(
  call: Call,
  body: NativeBody,
  { adapter }: GenerationRequest,
  adapterGeneration: string | undefined,
): void {
  const { model } = call.api.serving;
  setIdentityHeaders(call.c, { model, adapter, adapterGeneration, characterCount: characterCount(body.inputs) });
}

/** Runs a scenario's streams against the engine, as the HTTP layer would: one request a stream, all at once. */

import { GREEDY, type SamplingParams } from '#server/engine/sampling/params.ts';
import type { GenerationRequest, Generator } from '#server/scheduler/request.ts';
import { adapterId, type AdapterRecipe } from './random-adapter.ts';
import { promptTokens, type StreamResult } from './run.ts';
import type { Scenario } from './scenario.ts';

const SAMPLED: SamplingParams = { ...GREEDY, doSample: true, temperature: 0.8, topK: 50, topP: 0.95, seed: 7n };

export function streamFromEngine(generator: Generator, scenario: Scenario, vocabSize: number): Promise<StreamResult[]> {
  const { streams, promptLen } = scenario;
  return Promise.all(
    streams.map((recipe, index) => {
      const tokens = promptTokens(index, promptLen, vocabSize);
      return readStream(generator, engineRequest(tokens, recipe, scenario));
    }),
  );
}

function engineRequest(
  tokens: readonly number[],
  recipe: AdapterRecipe | undefined,
  { newTokens, sampled }: Scenario,
): GenerationRequest {
  return {
    prompt: { tokens },
    addSpecialTokens: false,
    adapter: recipe && { id: adapterId(recipe), source: 'local' },
    sampling: sampled ? SAMPLED : GREEDY,
    maxNewTokens: newTokens,
    stop: [],
    ignoreEos: true,
    truncate: undefined,
    promptLogprobs: false,
    alternatives: 0,
  };
}

async function readStream(generator: Generator, request: GenerationRequest): Promise<StreamResult> {
  const begun = performance.now();
  const generation = await generator.generate(request, new AbortController().signal);
  let firstTokenMs = 0;
  let generatedTokens = 0;
  for await (const event of generation.events) {
    if (event.kind === 'end') continue;
    firstTokenMs ||= performance.now() - begun;
    generatedTokens++;
  }
  return {
    promptTokens: generation.promptTokens,
    generatedTokens,
    firstTokenMs,
    durationMs: performance.now() - begun,
  };
}

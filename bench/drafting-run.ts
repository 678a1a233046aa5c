/** Some streams that are answered together, drafted one way: what they said, and the steps it took. */

import { GREEDY, type SamplingParams } from '#server/engine/sampling/params.ts';
import type { GenerationRequest, Generator } from '#server/scheduler/request.ts';
import { DRAFT_MODES, type DraftEngines, type DraftMode } from './drafting-modes.ts';
import { HELD_OUT_PROMPTS } from './held-out-prompts.ts';
import type { RecordedStep } from './step-recorder.ts';

/** What all ways of drafting are compared at. */
export interface DraftLoad {
  readonly streamCount: number;
  /** At temperature 0.8, instead of taking the best. */
  readonly sampled: boolean;
  readonly newTokens: number;
}

export interface DraftRun {
  readonly mode: DraftMode;
  readonly load: DraftLoad;
  readonly round: number;
  /** Token ids by stream. */
  readonly answers: readonly (readonly number[])[];
  readonly steps: readonly RecordedStep[];
}

const TEMPERATURE = 0.8;

/** All ways of drafting get the same prompts and seeds in one round, and others in the next. */
export async function runDrafted(
  engines: DraftEngines,
  run: Pick<DraftRun, 'mode' | 'load' | 'round'>,
): Promise<DraftRun> {
  const { mode, load, round } = run;
  const { engine, recorder } = engines[DRAFT_MODES[mode].engine];
  recorder.begin(engine.backend.description.threads);
  const streams = Array.from({ length: load.streamCount }, (_, i) => round * load.streamCount + i);
  const answers = await Promise.all(streams.map((stream) => answer(engine.generator, draftedRequest(stream, run))));
  return { ...run, answers, steps: recorder.steps };
}

function draftedRequest(stream: number, { mode, load }: Pick<DraftRun, 'mode' | 'load'>): GenerationRequest {
  const { sampled, newTokens } = load;
  const sampling: SamplingParams = { ...GREEDY, doSample: true, temperature: TEMPERATURE, seed: BigInt(stream) };
  return {
    prompt: { text: HELD_OUT_PROMPTS[stream % HELD_OUT_PROMPTS.length]! },
    addSpecialTokens: true,
    adapter: undefined,
    sampling: sampled ? sampling : GREEDY,
    maxNewTokens: newTokens,
    stop: [],
    ignoreEos: true,
    truncate: undefined,
    promptLogprobs: false,
    alternatives: 0,
    speculation: { mode: DRAFT_MODES[mode].speculation, tokens: undefined },
  };
}

async function answer(generator: Generator, request: GenerationRequest): Promise<number[]> {
  const generation = await generator.generate(request, new AbortController().signal);
  const ids: number[] = [];
  for await (const event of generation.events) if (event.kind === 'token') ids.push(event.token.id);
  return ids;
}

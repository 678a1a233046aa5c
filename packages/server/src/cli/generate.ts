/** `lorax generate`: one prompt, its tokens on stdout as they are made, everything else on stderr. */

import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';

import { LoraxError } from '../base/errors.ts';
import type { GenerateOptions } from '../config/generate-options.ts';
import type { ServeOptions } from '../config/options.ts';
import type { SamplingParams } from '../engine/sampling/params.ts';
import type { Generation, GenerationEvent, GenerationRequest } from '../scheduler/request.ts';
import { createLogger } from '../telemetry/log.ts';
import { createProgress } from '../telemetry/progress.ts';
import type { Composition } from './composition.ts';
import { loadComposition } from './composition.ts';
import { EXIT } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import { catchInterrupts } from './interrupt.ts';

/** Settles with the exit code. */
export async function generate(
  options: ServeOptions,
  wanted: GenerateOptions,
  load: () => Promise<Pick<Composition, 'loadEngine'>> = loadComposition,
): Promise<number> {
  const prompt = await readPrompt(wanted);
  const interrupt = catchInterrupts(() => {});
  // `lorax generate | head -1`: when nobody reads any more, there is nothing left to do.
  process.stdout.once('error', () => process.exit(EXIT.failure));
  try {
    const { loadEngine } = await load();
    return await run(options, generationRequest(prompt, options, wanted), interrupt, loadEngine);
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    process.stdout.write('\n');
    return EXIT.interrupted;
  } finally {
    interrupt.dispose();
  }
}

async function run(
  options: ServeOptions,
  request: GenerationRequest,
  { signal }: Interrupt,
  loadEngine: Composition['loadEngine'],
): Promise<number> {
  const log = createLogger({ level: options.logLevel, json: options.jsonOutput }, process.stderr);
  const engine = await loadEngine(options, { log, progress: createProgress(process.stderr), signal });
  try {
    const generation = await engine.generator.generate(request, signal);
    await print(generation);
    return EXIT.ok;
  } finally {
    await engine.dispose();
  }
}

async function print({ events, promptTokens }: Generation): Promise<void> {
  for await (const event of events) {
    if (event.kind === 'end') process.stderr.write(`\n${summary(event, promptTokens)}\n`);
    else if (!event.token.special) process.stdout.write(event.token.text);
  }
}

function summary({ result, times }: GenerationEvent & { kind: 'end' }, promptTokens: number): string {
  const perSecond = (1000 * result.generatedTokens) / Math.max(times.inferenceMs, 1);
  const seed = result.seed === undefined ? '' : `, seed ${result.seed}`;
  const made = `${promptTokens} prompt tokens, ${result.generatedTokens} generated (${perSecond.toFixed(1)} a second)`;
  const drafted = result.skippedTokens === 0 ? '' : `, ${result.skippedTokens} of them from drafts`;
  return `${made}${drafted}, ended by ${result.finishReason}${seed}`;
}

async function readPrompt({ prompt }: GenerateOptions): Promise<string> {
  const given = prompt === '-' ? await text(process.stdin) : prompt;
  if (given === undefined || given === '') {
    const reason = given === undefined ? 'is required; - reads the standard input' : 'the standard input was empty';
    throw new LoraxError('OPTION_INVALID', { option: '--prompt', reason });
  }
  return given;
}

/** Exported for its test: what the flags ask of the engine. */
export function generationRequest(prompt: string, options: ServeOptions, wanted: GenerateOptions): GenerationRequest {
  const { adapterId, adapterSource } = options;
  return {
    prompt: { text: prompt },
    addSpecialTokens: true,
    adapter: adapterId === undefined ? undefined : { id: adapterId, source: adapterSource },
    sampling: samplingParams(wanted),
    maxNewTokens: wanted.maxNewTokens,
    stop: wanted.stop,
    ignoreEos: wanted.ignoreEosToken,
    truncate: undefined,
    promptLogprobs: false,
    alternatives: 0,
    speculation: { mode: wanted.speculation, tokens: wanted.speculationTokens },
  };
}

/** Greedy unless a flag asks for chance; a seed alone asks for nothing. */
function samplingParams(wanted: GenerateOptions): SamplingParams {
  const { temperature = 1, topK = 0, topP = 1, typicalP = 1 } = wanted;
  return {
    doSample: wanted.temperature !== undefined && wanted.temperature > 0,
    temperature,
    topK,
    topP,
    typicalP,
    repetitionPenalty: wanted.repetitionPenalty,
    frequencyPenalty: wanted.frequencyPenalty,
    presencePenalty: wanted.presencePenalty,
    watermark: false,
    seed: wanted.seed ?? randomBytes(8).readBigUInt64LE(),
  };
}

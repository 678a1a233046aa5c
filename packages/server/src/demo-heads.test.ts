import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import type { AdapterChoice } from './base/adapter-reference.ts';
import { liveHandles } from './base/handles.ts';
import type { LoadedEngine } from './cli/composition.ts';
import { readServe } from './config/testing.ts';
import { GREEDY, type SamplingParams } from './engine/sampling/params.ts';
import type { GenerationRequest } from './scheduler/request.ts';
import type { SpeculationParams } from './scheduler/speculation.ts';
import { loadEngine } from './server.ts';
import { createLogger } from './telemetry/log.ts';
import { readAnswer, type Answer } from './testing/request-setting.ts';

const deps = {
  log: createLogger({ level: 'silent', json: true }),
  progress: { start: () => ({ advance: () => undefined, done: () => undefined }) },
  signal: new AbortController().signal,
};

const PROMPTS = [
  'Once upon a time there was a king who',
  'The fox said to the crow, "',
  'In the middle of the forest stood a house, and in the house',
];

/** The base, LoRA of several kinds, other heads, and LoRA and heads in one folder. */
const ADAPTERS = [undefined, 'austen', 'doyle', 'shakespeare', 'medusa', 'medusa-chat', 'pirate-medusa'] as const;

const SAMPLED = { ...GREEDY, doSample: true };
const SAMPLINGS: readonly SamplingParams[] = [
  GREEDY,
  { ...GREEDY, repetitionPenalty: 1.2 },
  { ...GREEDY, frequencyPenalty: 0.4, presencePenalty: 0.2, watermark: true },
  { ...SAMPLED, temperature: 0.7, seed: 1n },
  { ...SAMPLED, temperature: 0.5, topK: 20, topP: 0.9, typicalP: 0.95, seed: 2n },
];

interface Caller {
  readonly prompt: string;
  readonly adapter: string | undefined;
  readonly isMerged: boolean;
  readonly sampling: SamplingParams;
  readonly newTokens: number;
  readonly alternatives: number;
  readonly stop: readonly string[];
  readonly speculation: SpeculationParams;
  /** Tokens after which another request of the same kind is given up, in the middle of its drafts. */
  readonly givesUpAfter: number | undefined;
}

const caller: fc.Arbitrary<Caller> = fc.record({
  prompt: fc.constantFrom(...PROMPTS),
  adapter: fc.constantFrom(...ADAPTERS),
  isMerged: fc.boolean(),
  sampling: fc.constantFrom(...SAMPLINGS),
  newTokens: fc.integer({ min: 1, max: 40 }),
  alternatives: fc.constantFrom(0, 0, 2),
  stop: fc.constantFrom([], [], [' the'], ['.', ' and']),
  speculation: fc.record({
    mode: fc.constantFrom('auto', 'medusa', 'ngram'),
    tokens: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
  }),
  givesUpAfter: fc.option(fc.nat(6), { nil: undefined }),
});

/** Float32, where equal choices are equal tokens; the precision of the weights as stored is the vectors' matter. */
describe("the demo's draft heads", () => {
  let engine: LoadedEngine;
  before(async () => {
    engine = await loadEngine(readServe(['--demo', '--dtype', 'float32', '--max-active-adapters', '4']).options, deps);
  });
  after(async () => {
    await engine.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  it('change no answer, with any adapter, any sampling, any stop and any company', async () => {
    let skipped = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(caller, { minLength: 1, maxLength: 5 }), async (callers) => {
        const abandoned = callers.map((of) => giveUp(of));
        const together = await Promise.all(callers.map((of) => answer(of, of.speculation)));
        await Promise.all(abandoned);
        for (const [i, of] of callers.entries()) {
          const plain = await answer(of, { mode: 'off', tokens: undefined });
          assert.deepEqual(comparable(together[i]!), comparable(plain), JSON.stringify(of, bigints));
          skipped += together[i]!.result!.skippedTokens;
        }
      }),
      { seed: 4, numRuns: 12 },
    );
    assert.ok(skipped > 0, 'some tokens came from drafts');
  });

  function requestOf(of: Caller, speculation: SpeculationParams): GenerationRequest {
    return {
      prompt: { text: of.prompt },
      addSpecialTokens: true,
      adapter: choiceOf(of),
      sampling: of.sampling,
      maxNewTokens: of.newTokens,
      stop: of.stop,
      ignoreEos: false,
      truncate: undefined,
      promptLogprobs: false,
      speculation,
      alternatives: of.alternatives,
    };
  }

  async function answer(of: Caller, speculation: SpeculationParams): Promise<Answer> {
    const { signal } = new AbortController();
    return readAnswer(await engine.generator.generate(requestOf(of, speculation), signal));
  }

  async function giveUp(of: Caller): Promise<void> {
    if (of.givesUpAfter === undefined) return;
    const abort = new AbortController();
    const { events } = await engine.generator.generate(requestOf(of, of.speculation), abort.signal);
    let left = of.givesUpAfter;
    try {
      for await (const _ of events) if (left-- === 0) abort.abort();
    } catch (error) {
      assert.ok(abort.signal.aborted, String(error));
    }
  }
});

function choiceOf({ adapter, isMerged }: Caller): AdapterChoice | undefined {
  if (adapter === undefined) return undefined;
  const reference = { id: adapter, source: 'local' as const };
  if (!isMerged || adapter !== 'austen') return reference;
  const members = [reference, { id: 'stoker', source: 'local' as const }];
  return {
    members: members.map((member, i) => ({ reference: member, weight: 0.7 - 0.3 * i })),
    recipe: { strategy: 'cat', density: undefined, majoritySign: 'total' },
  };
}

function comparable({ tokens, result, error }: Answer): unknown {
  assert.equal(error, undefined, String(error));
  const { finishReason, text, generatedTokens, seed } = result!;
  const told = tokens.map(({ id, text: shown, alternatives }) => [
    id,
    shown,
    (alternatives ?? []).map((each) => each.id),
  ]);
  return { finishReason, text, generatedTokens, seed, told };
}

function bigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { AdapterLoader } from './adapters/adapter-loader.ts';
import { GgmlBackend } from './backend/ggml/ggml-backend.ts';
import type { AdapterChoice } from './base/adapter-reference.ts';
import { liveHandles } from './base/handles.ts';
import type { LoadedEngine } from './cli/composition.ts';
import { readServe } from './config/testing.ts';
import { BaseModel } from './engine/base-model.ts';
import { Acceptance } from './engine/drafting/acceptance.ts';
import { BatchMedusaWeights } from './engine/drafting/batch-medusa-weights.ts';
import { ROOT } from './engine/drafting/draft.ts';
import { DraftTree } from './engine/drafting/draft-tree.ts';
import type { Guesses } from './engine/drafting/guesses.ts';
import { GREEDY, type SamplingParams } from './engine/sampling/params.ts';
import type { GenerationRequest } from './scheduler/request.ts';
import type { SpeculationParams } from './scheduler/speculation.ts';
import { loadEngine } from './server.ts';
import { kvShape, kvTypes } from './serving/limits.ts';
import { createLogger } from './telemetry/log.ts';
import { openTokenizer } from './text/hf-tokenizer.ts';
import { readAnswer, type Answer } from './testing/request-setting.ts';

const deps = {
  log: createLogger({ level: 'silent', json: true }),
  progress: { start: () => ({ advance: () => undefined, done: () => undefined }) },
  signal: new AbortController().signal,
};

/** The last one repeats itself, so that looking back finds something beside the heads. */
const PROMPTS = [
  'Once upon a time there was a king who',
  'The fox said to the crow, "',
  'In the middle of the forest stood a house, and in the house',
  '"Who is there?" said the king. "It is I," said the fox. "Who is there?" said the king. "It is I," said',
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

/** Openings that no head was trained on. */
const HELD_OUT = [
  'Long ago, in a country by the sea, there lived a shepherd boy who had lost a silver bird',
  'When the old clock struck twelve, the captain of a ship and looked out of the window at the moon',
  'There was once a clever fox who dreamed of the castle',
  'As the sun went down behind the mountains, two sisters and sat down beside the well',
];

describe('the default heads of the demo', () => {
  it('give at least two tokens a step on openings they never saw', async () => {
    const folder = dirname(createRequire(import.meta.url).resolve('@lorax/demo-model/package.json'));
    const setting = await openHeads(join(folder, 'base'), join(folder, 'adapters', 'medusa'));
    try {
      let [stepCount, tokenCount] = [0, 0];
      for (const opening of HELD_OUT) {
        const { promptLen, tokens, guesses } = await setting.guessAlong(opening, 64);
        for (let at = promptLen; at + 1 < tokens.length; stepCount++) {
          const accepted = acceptedBy(guesses[at - 1]!, tokens.slice(at + 1));
          at += accepted + 1;
          tokenCount += accepted + 1;
        }
      }
      assert.ok(tokenCount / stepCount >= 2, `${(tokenCount / stepCount).toFixed(2)} tokens a step`);
    } finally {
      setting.dispose();
    }
  });

  it('may be of version 1 as well', async () => {
    const v1 = await loadEngine(readServe(['--demo', '--dtype', 'float32', '--adapter-id', 'medusa-v1']).options, deps);
    try {
      const request: GenerationRequest = {
        ...{ prompt: { text: HELD_OUT[0]! }, addSpecialTokens: true, adapter: undefined, sampling: GREEDY },
        ...{ maxNewTokens: 48, stop: [], ignoreEos: true, truncate: undefined, promptLogprobs: false, alternatives: 0 },
      };
      const ask = async (mode: SpeculationParams['mode']): Promise<Answer> => {
        const asked = { ...request, speculation: { mode, tokens: undefined } };
        return readAnswer(await v1.generator.generate(asked, new AbortController().signal));
      };
      assert.deepEqual(comparable(await ask('medusa')), comparable(await ask('off')));
    } finally {
      await v1.dispose();
    }
  });
});

/** The base and heads on the real backend, without a scheduler that decides how much is drafted. */
async function openHeads(modelFolder: string, headsFolder: string) {
  const backend = new GgmlBackend({ path: undefined, threads: 1, precision: 'medium' });
  const model = await BaseModel.load(backend, {
    ...{ modelId: 'lorax-demo/base', folder: modelFolder, dtype: 'float32', onProgress: () => undefined },
  });
  const { architecture, decoder } = model.description;
  const base = { id: model.id, architecture, layerCount: decoder.layerCount, places: model.places };
  const loader = new AdapterLoader(backend, { ...base, resolveBase: async () => undefined });
  const loaded = await loader.load(headsFolder, 'medusa', deps.signal);
  const kv = backend.createKvStore(kvShape(decoder, kvTypes('float32', 'medium'), 256));
  const tokenizer = await openTokenizer(modelFolder);
  const step = (tokens: readonly number[], position: number, outputCount: number) =>
    backend.runStep(model.decoder, kv, [{ tokens, position, firstCell: 0, adapters: [], outputCount }], {
      ...{ reduce: true, keepHidden: true },
    });
  /** Greedy tokens after the opening, and what the heads guess after each token. */
  const guessAlong = async (opening: string, count: number) => {
    const tokens = await tokenizer.encode(opening, true);
    const promptLen = tokens.length;
    for (let i = 0; i < count; i++) {
      const computed = i === 0 ? 0 : tokens.length - 1;
      tokens.push((await step(tokens.slice(computed), computed, 1)).best(0, 0).id);
    }
    await step(tokens, 0, tokens.length);
    const heads = loaded.heads!;
    const rows = tokens.map((_, output) => ({ heads, headCount: heads.headCount, segment: 0, output, adapters: [] }));
    const guesses = await new BatchMedusaWeights(rows).guess(backend, model.decoder, 4);
    return { promptLen, tokens, guesses };
  };
  const dispose = (): void => {
    loader.unload(loaded);
    kv.dispose();
    void tokenizer.dispose();
    backend.dispose();
    model.dispose();
  };
  return { guessAlong, dispose };
}

/** How many of the tokens that follow are in a tree of the sixteen likeliest guesses. */
function acceptedBy(guesses: Guesses, truth: readonly number[]): number {
  const tree = new DraftTree(guesses, new Acceptance());
  for (let i = 0; i < 16; i++) tree.grow();
  const draft = tree.draft(16);
  let [at, count]: [number | undefined, number] = [draft.childOf(ROOT, truth[0] ?? -1), 0];
  while (at !== undefined) at = draft.childOf(at, truth[++count] ?? -1);
  return count;
}

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

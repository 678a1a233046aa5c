import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { DraftHeads } from '../adapters/store/adapter-lease.ts';
import { GREEDY, type SamplingParams } from '../engine/sampling/params.ts';
import { fakeHeads } from '../testing/fake-heads.ts';
import { Random } from '../testing/random.ts';
import { RequestSetting, type Answer } from '../testing/request-setting.ts';
import type { GenerationRequest } from './request.ts';
import { chooseDrafting, type SpeculationParams } from './speculation.ts';

const SAMPLED = { ...GREEDY, doSample: true };

/** Every processor and every way to draw, alone and together. */
const SAMPLINGS: readonly SamplingParams[] = [
  GREEDY,
  { ...GREEDY, repetitionPenalty: 1.1 },
  { ...GREEDY, frequencyPenalty: 0.2, presencePenalty: 0.1 },
  { ...GREEDY, watermark: true },
  { ...SAMPLED, temperature: 0.3, seed: 3n },
  { ...SAMPLED, temperature: 0.5, topK: 5, seed: 4n },
  { ...SAMPLED, temperature: 0.4, topP: 0.8, typicalP: 0.9, seed: 5n },
  { ...SAMPLED, temperature: 0.3, repetitionPenalty: 1.05, frequencyPenalty: 0.1, watermark: true, seed: 6n },
];

interface Caller {
  readonly promptLen: number;
  readonly period: number;
  readonly newTokens: number;
  readonly adapter: number;
  readonly sampling: SamplingParams;
  readonly alternatives: number;
  readonly stop: readonly string[];
  readonly speculation: SpeculationParams;
}

const caller: fc.Arbitrary<Caller> = fc.record({
  promptLen: fc.integer({ min: 2, max: 24 }),
  period: fc.integer({ min: 1, max: 6 }),
  newTokens: fc.integer({ min: 1, max: 24 }),
  adapter: fc.integer({ min: -1, max: 1 }),
  sampling: fc.constantFrom(...SAMPLINGS),
  alternatives: fc.constantFrom(0, 0, 3),
  stop: fc.constantFrom([], [], ['e'], ['th', 'qu']),
  speculation: fc.record({
    mode: fc.constantFrom('auto', 'ngram'),
    tokens: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }),
  }),
});

/** A prompt that repeats itself, so that looking back finds something. */
function promptOf({ promptLen, period }: Caller): GenerationRequest['prompt'] {
  const pattern = new Random(period).integers(period, 250);
  return { tokens: Array.from({ length: promptLen }, (_, i) => pattern[i % period]!) };
}

function comparable({ tokens, result, error }: Answer): unknown {
  assert.equal(error, undefined, String(error));
  const { finishReason, text, generatedTokens, seed } = result!;
  const told = tokens.map(({ id, text: shown, special, alternatives }) => [
    ...[id, shown, special],
    ...(alternatives ?? []).map((each) => each.id),
  ]);
  return { finishReason, text, generatedTokens, seed, told };
}

describe('drafting by looking back', () => {
  it('changes no answer, whatever is asked for and whoever else is running', async (t) => {
    const setting = await RequestSetting.open({
      ngramTokens: 4,
      limits: { maxBatchSize: 4, maxBatchPrefillTokens: 16 },
    });
    t.after(() => setting.dispose());
    const adapters = [1, 2].map((seed) => setting.adapter({ rank: seed, targets: ['q_proj', 'down_proj'] }, seed));
    const request = (of: Caller, speculation: SpeculationParams): Partial<GenerationRequest> => ({
      ...{ prompt: promptOf(of), maxNewTokens: of.newTokens, sampling: of.sampling, alternatives: of.alternatives },
      ...{ adapter: adapters[of.adapter], stop: of.stop, ignoreEos: true, speculation },
    });
    let skipped = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(caller, { minLength: 1, maxLength: 6 }), async (callers) => {
        const together = await Promise.all(callers.map((of) => setting.answer(request(of, of.speculation))));
        for (const [i, of] of callers.entries()) {
          const plain = await setting.answer(request(of, { mode: 'off', tokens: undefined }));
          assert.equal(plain.result!.skippedTokens, 0);
          assert.deepEqual(comparable(together[i]!), comparable(plain));
          const { tokens, result } = together[i]!;
          assert.equal(tokens.filter((token) => token.skipped).length, result!.skippedTokens);
          skipped += result!.skippedTokens;
        }
      }),
      { seed: 2, numRuns: 25 },
    );
    assert.ok(skipped > 0, 'some tokens came from drafts');
  });
});

describe('draft heads that fail', () => {
  it('cost their guesses and nothing else', async (t) => {
    const setting = await RequestSetting.open({ heads: headsOf('broken', 3) });
    t.after(() => setting.dispose());
    setting.backend.beforeDraft = () => {
      throw new Error('no draft today');
    };
    const request = { prompt: { tokens: [84, 104, 101] }, maxNewTokens: 40, ignoreEos: true };
    const drafted = await setting.answer(request);
    const plain = await setting.answer({ ...request, speculation: { mode: 'off', tokens: undefined } });
    assert.deepEqual(comparable(drafted), comparable(plain));
    assert.ok(setting.failedDrafts.length > 0, 'the heads were asked');
    assert.deepEqual(setting.failedSteps, []);
  });
});

describe('chooseDrafting', () => {
  const request = { sampling: GREEDY, adapter: undefined, adapterGeneration: undefined, heads: undefined };
  const choose = (speculation: SpeculationParams | undefined, ngramTokens: number) =>
    chooseDrafting({ ...request, speculation }, { heads: undefined, ngramTokens, strictHeads: false });

  it('looks back where the server does, and where a request asks for it', () => {
    assert.equal(choose(undefined, 0), undefined);
    assert.equal(choose(undefined, 5)?.lookbackPlaces, 5);
    assert.equal(choose({ mode: 'auto', tokens: 2 }, 5)?.lookbackPlaces, 2);
    assert.equal(choose({ mode: 'ngram', tokens: undefined }, 0)?.lookbackPlaces, 8);
    assert.equal(choose({ mode: 'off', tokens: 3 }, 5), undefined);
  });

  it('looks back beside heads, unless a request wants one of the two', () => {
    const standard = headsOf('standard', 3);
    const places = (speculation?: SpeculationParams, ngramTokens = 0) => {
      const chosen = withHeads(undefined, standard, speculation, { ngramTokens });
      return [chosen?.headPlaces, chosen?.lookbackPlaces];
    };
    assert.deepEqual(places(), [3, 8]);
    assert.deepEqual(places(undefined, 6), [3, 6]);
    assert.deepEqual(places({ mode: 'auto', tokens: 2 }), [2, 2]);
    assert.deepEqual(places({ mode: 'medusa', tokens: undefined }), [3, 0]);
    assert.deepEqual(places({ mode: 'ngram', tokens: undefined }), [0, 8]);
    assert.deepEqual(places({ mode: 'off', tokens: undefined }), [undefined, undefined]);
  });

  it('refuses heads that are not there', () => {
    assert.throws(() => choose({ mode: 'medusa', tokens: undefined }, 5), { code: 'VALIDATION', message: /mode/ });
  });

  it("takes an adapter's own heads where the server has default ones, and those for all others", () => {
    const [standard, own] = [headsOf('standard', 3), headsOf('own', 5)];
    assert.equal(withHeads(own, standard)?.heads, own.model);
    assert.equal(withHeads(own, standard)?.headPlaces, 5);
    assert.equal(withHeads(undefined, standard)?.heads, standard.model);
    assert.equal(withHeads(own, standard, { mode: 'ngram', tokens: 2 })?.heads, undefined);
    assert.equal(withHeads(own, standard, { mode: 'medusa', tokens: 2 })?.headPlaces, 2);
  });

  it('refuses heads that LoRAX would refuse, unless they are not used', () => {
    const [standard, old] = [headsOf('standard', 3), headsOf('old', 3, 1)];
    const refused = (heads: DraftHeads, standardHeads: DraftHeads | undefined, message: RegExp, strict = false) =>
      assert.throws(() => withHeads(heads, standardHeads, undefined, { strictHeads: strict }), {
        code: 'ADAPTER_INVALID',
        message,
      });
    refused(headsOf('own', 3), undefined, /adapter `poet` .*default/);
    refused(old, standard, /version 1/);
    refused(headsOf('own', 4), standard, /are 4, the default ones 3/, true);
    assert.ok(withHeads(headsOf('own', 3), standard, undefined, { strictHeads: true }));
    for (const mode of ['off', 'ngram'] as const) {
      assert.equal(withHeads(old, undefined, { mode, tokens: undefined })?.heads, undefined);
    }
  });

  it("takes the default adapter's heads of any version, named or not", () => {
    const standard = headsOf('standard', 3, 1);
    assert.equal(
      withHeads(headsOf('standard', 3, 1), standard, undefined, { strictHeads: true })?.heads,
      standard.model,
    );
    assert.equal(withHeads(undefined, standard)?.heads, standard.model);
  });

  it('tells adapters, heads and ways to sample apart where acceptance is learnt', () => {
    const [standard, own] = [headsOf('standard', 3), headsOf('own', 3)];
    const greedy = withHeads(own, standard)!;
    const keys = [greedy, withHeads(undefined, standard)!, withHeads(own, standard, { mode: 'ngram', tokens: 1 })!];
    assert.equal(new Set(keys.map(({ key }) => key)).size, 3);
    assert.deepEqual([greedy.adapter, choose({ mode: 'ngram', tokens: 1 }, 0)?.adapter], ['poet', 'base']);
  });

  function withHeads(
    heads: DraftHeads | undefined,
    standard: DraftHeads | undefined,
    speculation?: SpeculationParams,
    { strictHeads = false, ngramTokens = 0 } = {},
  ) {
    const adapter = { id: 'poet', source: 'local' as const };
    const asked = { ...request, adapter, adapterGeneration: 'a1', heads, speculation };
    return chooseDrafting(asked, { heads: standard, ngramTokens, strictHeads });
  }
});

function headsOf(generation: string, headCount: number, version: 1 | 2 = 2): DraftHeads {
  return { generation, model: fakeHeads(headCount, version) };
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { GREEDY, type SamplingParams } from '../engine/sampling/params.ts';
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

describe('chooseDrafting', () => {
  const request = { sampling: GREEDY, adapterGeneration: undefined, heads: undefined };
  const choose = (speculation: SpeculationParams | undefined, ngramTokens: number) =>
    chooseDrafting({ ...request, speculation }, { heads: undefined, ngramTokens });

  it('looks back where the server does, and where a request asks for it', () => {
    assert.equal(choose(undefined, 0), undefined);
    assert.equal(choose(undefined, 5)?.mostPlaces, 5);
    assert.equal(choose({ mode: 'auto', tokens: 2 }, 5)?.mostPlaces, 2);
    assert.equal(choose({ mode: 'ngram', tokens: undefined }, 0)?.mostPlaces, 4);
    assert.equal(choose({ mode: 'off', tokens: 3 }, 5), undefined);
  });

  it('refuses heads that are not there', () => {
    assert.throws(() => choose({ mode: 'medusa', tokens: undefined }, 5), { code: 'VALIDATION', message: /mode/ });
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LoraxError } from '../base/errors.ts';
import { deriveLimits, kvBytesPerToken, kvShape, kvTypes, type GivenLimits } from './limits.ts';
import { makeTinyModel } from '../testing/tiny-model.ts';
import { parseModelConfig } from '../models/config.ts';
import { decoderConfig } from '../models/family.ts';
import { llama } from '../models/llama.ts';

const NOTHING: GivenLimits = {
  maxInputLength: undefined,
  maxTotalTokens: undefined,
  maxBatchTotalTokens: undefined,
  maxBatchSize: 8,
};

describe('limits', () => {
  it('follow from the model’s context, and from memory where that is short', () => {
    const derive = (maxPositions: number, freeBytes: number): number[] => {
      const limits = deriveLimits(NOTHING, maxPositions, 100, freeBytes);
      return [limits.maxInputLength, limits.maxTotalTokens, limits.maxBatchTotalTokens];
    };
    assert.deepEqual(derive(1000, 1e12), [999, 1000, 8000]);
    assert.deepEqual(derive(131_072, 1e12), [4095, 4096, 32_768]);
    assert.deepEqual(derive(1000, 4 * 100 * 2500), [999, 1000, 2500]);
    assert.deepEqual(derive(1000, 0), [999, 1000, 1000]);
  });

  it('that are given are kept', () => {
    const given = { maxInputLength: 10, maxTotalTokens: 20, maxBatchTotalTokens: 300, maxBatchSize: 8 };
    const { maxBatchSize, ...limits } = given;
    assert.equal(maxBatchSize, 8);
    assert.deepEqual(deriveLimits(given, 1000, 100, 0), limits);
  });

  it('grow for the input that is asked for, as far as the model goes', () => {
    assert.equal(deriveLimits({ ...NOTHING, maxInputLength: 6000 }, 10_000, 1, 0).maxTotalTokens, 6001);
    assert.throws(
      () => deriveLimits({ ...NOTHING, maxInputLength: 6000 }, 5000, 1, 0),
      /option --max-input-length: 6000 must be less than --max-total-tokens, which is 5000 for this model/,
    );
  });

  it('never let a request in that cannot fit', () => {
    const limit = fc.option(fc.integer({ min: 2, max: 10_000 }), { nil: undefined });
    const given = fc.record({
      maxInputLength: limit,
      maxTotalTokens: limit,
      maxBatchTotalTokens: limit,
      maxBatchSize: fc.integer({ min: 1, max: 100 }),
    });
    // What the options' own check refuses before.
    const isSane = ({ maxTotalTokens = 0, maxBatchTotalTokens = Infinity }: GivenLimits): boolean =>
      maxTotalTokens <= maxBatchTotalTokens;
    fc.assert(
      fc.property(given.filter(isSane), fc.integer({ min: 2, max: 10_000 }), fc.nat(1e9), (limits, positions, free) => {
        try {
          const derived = deriveLimits(limits, positions, 64, free);
          assert.ok(derived.maxInputLength >= 1);
          assert.ok(derived.maxInputLength < derived.maxTotalTokens);
          assert.ok(derived.maxTotalTokens <= derived.maxBatchTotalTokens);
        } catch (error) {
          assert.ok(error instanceof LoraxError && error.code === 'OPTION_INVALID', String(error));
          assert.ok(limits.maxInputLength !== undefined);
        }
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it('count keys and values of every layer', () => {
    const decoder = decoderConfig('m', parseModelConfig('m', makeTinyModel().config), llama);
    const types = { key: 'float32', value: 'float16' } as const;
    assert.deepEqual(kvShape(decoder, types, 7), { layerCount: 2, cellCount: 7, width: 16, types });
    assert.equal(kvBytesPerToken(decoder, types), 2 * 16 * (4 + 2));
  });

  it('round keys to float16 at precision medium only, values unless float32 is asked for', () => {
    assert.deepEqual(kvTypes(undefined, 'high'), { key: 'float32', value: 'float16' });
    assert.deepEqual(kvTypes('bfloat16', 'medium'), { key: 'float16', value: 'float16' });
    assert.deepEqual(kvTypes('float32', 'medium'), { key: 'float32', value: 'float32' });
  });
});

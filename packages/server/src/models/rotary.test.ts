import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parseModelConfig, rotaryOf } from './config.ts';
import { makeRotary, ROPE_TYPES, type RopeParameters } from '../layers/rope.ts';

interface OracleCase {
  readonly name: string;
  readonly dim: number;
  readonly config_v4: Readonly<Record<string, unknown>>;
  readonly config_v5: Readonly<Record<string, unknown>> & { readonly rope_parameters: { readonly rope_type: string } };
  readonly inv_freq: readonly number[];
  readonly attention_scaling: number;
}

const ORACLE = new URL('../../src/layers/testdata/rope_oracle.json', import.meta.url);
const { transformers, cases } = JSON.parse(readFileSync(ORACLE, 'utf8')) as {
  readonly transformers: string;
  readonly cases: readonly OracleCase[];
};
const REST = { model_type: 'llama', vocab_size: 8, intermediate_size: 8, num_hidden_layers: 1 };

describe(`rotary frequencies equal those of transformers ${transformers}`, () => {
  const served = cases.filter(({ config_v5: config }) => ROPE_TYPES.includes(config.rope_parameters.rope_type));

  it('in every recipe', () => {
    assert.deepEqual(
      new Set(served.map(({ config_v5: config }) => config.rope_parameters.rope_type)),
      new Set(ROPE_TYPES),
    );
  });

  for (const { name, dim, config_v4, config_v5, inv_freq, attention_scaling } of served) {
    for (const [form, config] of Object.entries({ 4: config_v4, 5: config_v5 })) {
      it(`${name}, as version ${form} writes it`, () => {
        const rotary = rotaryOf('m', parseModelConfig('m', { ...REST, ...config }), dim);
        assert.equal(rotary.headDim, dim);
        assert.equal(rotary.inverseFrequencies.length, inv_freq.length);
        for (const [i, frequency] of inv_freq.entries()) {
          const error = Math.abs(rotary.inverseFrequencies[i]! / frequency - 1);
          assert.ok(error < 1e-6, `pair ${i} is off by ${error}`);
        }
        assert.ok(Math.abs(rotary.attentionFactor / attention_scaling - 1) < 1e-6);
      });
    }
  }
});

describe('rope recipes', () => {
  const plain: RopeParameters = { type: 'default', theta: 10_000, headDim: 8, maxPositions: 64, settings: {} };

  it('divide every frequency by a linear factor', () => {
    const [whole, divided] = [plain, { ...plain, type: 'linear', settings: { factor: 4 } }].map(makeRotary);
    assert.deepEqual(
      divided!.inverseFrequencies,
      whole!.inverseFrequencies.map((frequency) => frequency / 4),
    );
  });

  it('take YaRN’s attention factor as given, or from the two mscales, or from the factor', () => {
    const factorOf = (settings: RopeParameters['settings']): number =>
      makeRotary({ ...plain, type: 'yarn', settings: { factor: 8, ...settings } }).attentionFactor;
    const magnitude = (weight: number): number => 0.1 * weight * Math.log(8) + 1;
    assert.equal(factorOf({ attention_factor: 1.25 }), 1.25);
    assert.equal(factorOf({ mscale: 2, mscale_all_dim: 0.5 }), magnitude(2) / magnitude(0.5));
    assert.equal(factorOf({}), magnitude(1));
    assert.equal(factorOf({ factor: 1 }), 1);
  });

  it('that are not known are refused with those that are', () => {
    assert.throws(() => makeRotary({ ...plain, type: 'longrope' }), {
      name: 'RangeError',
      message: 'rope type `longrope` is not known; known are default, linear, llama3, yarn',
    });
    assert.throws(() => makeRotary({ ...plain, type: 'toString' }), RangeError);
  });

  it('refuse settings that are missing or no use', () => {
    for (const settings of [{}, { factor: 0 }, { factor: -2 }, { factor: NaN }, { factor: true }]) {
      const faulty = (): unknown => makeRotary({ ...plain, type: 'linear', settings });
      assert.throws(faulty, /rope type `linear` needs a positive `factor`/);
    }
  });
});

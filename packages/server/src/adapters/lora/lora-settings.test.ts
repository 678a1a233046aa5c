import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LoraxError } from '../../base/errors.ts';
import { parseLoraSettings } from './lora-settings.ts';
import { configBytes } from '../testing/fake-model.ts';

const parse = (fields: Readonly<Record<string, unknown>>) => parseLoraSettings(configBytes(fields), 'id');

function refusal(bytes: Uint8Array): string {
  try {
    parseLoraSettings(bytes, 'id');
  } catch (error) {
    assert.ok(error instanceof LoraxError && error.code === 'ADAPTER_INVALID');
    return error.message;
  }
  throw new assert.AssertionError({ message: 'nothing was refused' });
}

describe('an adapter_config.json', () => {
  it('has PEFT’s defaults where it says nothing', () => {
    const settings = parse({ r: null, use_dora: null });
    assert.deepEqual(
      { rank: settings.rank, alpha: settings.alpha, rsLora: settings.rsLora, dora: settings.dora },
      { rank: 8, alpha: 8, rsLora: false, dora: false },
    );
    assert.equal(settings.targetModules, undefined);
    assert.deepEqual(settings.ignoredFields, []);
  });

  it('lists the fields nobody knows, where they say something', () => {
    const { ignoredFields } = parse({
      use_new_math: true,
      future: { a: 1 },
      off: false,
      none: null,
      no: [],
      nothing: {},
    });
    assert.deepEqual(ignoredFields, ['use_new_math', 'future']);
  });

  it('is refused with the field named where that would change the mathematics', () => {
    const fields = {
      use_qalora: true,
      use_bdlora: {},
      alora_invocation_tokens: [1, 2],
      layer_replication: [[0, 4]],
      target_parameters: ['mlp.experts.gate_up_proj'],
      trainable_token_indices: [0],
      arrow_config: { top_k: 3 },
      velora_config: {},
      kasa_config: {},
      monteclora_config: {},
      megatron_config: {},
      enable_lora: [true, false],
      init_lora_weights: 'pissa_niter_16',
    };
    for (const [field, value] of Object.entries(fields)) {
      assert.match(refusal(configBytes({ [field]: value })), new RegExp(`"${field}"`), field);
    }
  });

  it('is refused for schemes that start from changed base weights, and for unknown ones', () => {
    for (const init of ['pissa', 'olora', 'OLoRA', 'loftq', 'corda', 'lora_ga']) {
      assert.match(refusal(configBytes({ init_lora_weights: init })), /changed base weights/, init);
    }
    assert.match(refusal(configBytes({ init_lora_weights: 'newest' })), /"newest", which is not known/);
    for (const init of [true, false, null, 'gaussian', 'eva', 'orthogonal', 'mica']) {
      assert.equal(parse({ init_lora_weights: init, corda_config: { alpha: 1 } }).rank, 8);
    }
  });

  it('accepts the same fields switched off', () => {
    const off = { use_qalora: false, target_parameters: [], layer_replication: null, alora_invocation_tokens: null };
    assert.deepEqual(parse({ ...off, trainable_token_indices: null }).ignoredFields, []);
  });

  it('is refused with the field named where a value has the wrong form', () => {
    const wrong = {
      r: 0,
      lora_alpha: 1e39,
      use_rslora: 'yes',
      target_modules: [1],
      layers_to_transform: 'all',
      rank_pattern: { q_proj: 1.5 },
      alpha_pattern: [4],
      bias: 'some',
      modules_to_save: Array.from({ length: 257 }, () => 'lm_head'),
    };
    for (const [field, value] of Object.entries(wrong)) {
      assert.match(refusal(configBytes({ [field]: value })), new RegExp(`"${field}`), field);
    }
    assert.match(refusal(configBytes({ peft_type: 'IA3' })), /"peft_type" is "IA3", only LORA/);
  });

  it('is refused for what PEFT refuses as well', () => {
    const both = { target_modules: '.*', layers_to_transform: [0] };
    assert.match(refusal(configBytes(both)), /"layers_to_transform" needs/);
    assert.match(refusal(configBytes({ layers_pattern: 'h' })), /without "layers_to_transform"/);
    assert.match(refusal(configBytes({ use_dora: true, lora_bias: true })), /exclude each other/);
  });

  it('is refused without harm for anything else', () => {
    const deep = new TextEncoder().encode(`{"peft_type":"LORA","x":${'['.repeat(400_000)}${']'.repeat(400_000)}}`);
    assert.deepEqual(parseLoraSettings(deep, 'id').ignoredFields, ['x']);
    fc.assert(fc.property(fc.uint8Array(), (bytes) => assert.ok(refusal(bytes).length < 500)));
    fc.assert(
      fc.property(fc.json(), (json) => {
        try {
          parseLoraSettings(new TextEncoder().encode(json), 'id');
        } catch (error) {
          assert.ok(error instanceof LoraxError);
        }
      }),
    );
  });
});

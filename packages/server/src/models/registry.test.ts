import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { describeModel, eosTokenIds, MODEL_TYPES, type ModelDescription } from './registry.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorax-models-'));
after(() => rmSync(folder, { recursive: true }));

type Fields = Readonly<Record<string, unknown>>;

const SIZES: Fields = {
  vocab_size: 32,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  max_position_embeddings: 128,
};

/** Fields that are undefined are not written. */
function describeWith(fields: Fields): Promise<ModelDescription> {
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...SIZES, ...fields }));
  return describeModel('some/model', folder);
}

async function refusal(fields: Fields): Promise<string> {
  const error: unknown = await describeWith(fields).then(
    () => assert.fail('the config was taken'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof LoraxError && error.code === 'MODEL_INVALID', String(error));
  assert.equal(error.params['modelId'], 'some/model');
  return String(error.params['reason']);
}

describe('a model’s config.json', () => {
  it('says the same in the forms of transformers 4 and 5', async () => {
    const scaling = {
      ...{ factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
      original_max_position_embeddings: 64,
    };
    const type = { model_type: 'llama', architectures: ['LlamaForCausalLM'], num_key_value_heads: 2 };
    const rope4 = { rope_theta: 500_000, rope_scaling: { rope_type: 'llama3', ...scaling }, torch_dtype: 'bfloat16' };
    const rope5 = { rope_parameters: { rope_type: 'llama3', rope_theta: 500_000, ...scaling }, dtype: 'bfloat16' };
    const older = { rope_theta: 500_000, rope_scaling: { type: 'llama3', ...scaling } };
    const [v4, v5, before443] = [
      (await describeWith({ ...type, ...rope4 })).decoder,
      (await describeWith({ ...type, ...rope5 })).decoder,
      (await describeWith({ ...type, ...older })).decoder,
    ];
    assert.deepEqual(v4, v5);
    assert.deepEqual(v4, before443);
    assert.notDeepEqual(v4.rotary, (await describeWith({ ...type, rope_theta: 500_000 })).decoder.rotary);
  });

  it('is read with the defaults of its family', async () => {
    const defaults = { normEpsilon: 1e-6, tiedEmbeddings: false, layerCount: 3, headDim: 16, mlpBias: false };
    const pick = async (fields: Fields): Promise<Record<string, unknown>> => {
      const { decoder } = await describeWith(fields);
      const names = [...Object.keys(defaults), 'kvHeadCount', 'qkvBias', 'outputBias', 'headNorms', 'windows'] as const;
      return Object.fromEntries(names.map((name) => [name, decoder[name as keyof typeof decoder]]));
    };
    const no = { qkvBias: false, outputBias: false, headNorms: false, windows: Array(3).fill(undefined) as unknown };
    assert.deepEqual(await pick({ model_type: 'llama' }), { ...defaults, ...no, kvHeadCount: 4 });
    const heads = { num_attention_heads: 32, hidden_size: 512 };
    assert.deepEqual(await pick({ model_type: 'mistral', ...heads }), {
      ...{ ...defaults, ...no, kvHeadCount: 8, windows: [4096, 4096, 4096] },
    });
    assert.deepEqual(await pick({ model_type: 'qwen2', ...heads }), {
      ...defaults,
      ...no,
      kvHeadCount: 32,
      qkvBias: true,
    });
    assert.deepEqual(await pick({ model_type: 'qwen3', ...heads }), {
      ...{ ...defaults, ...no, kvHeadCount: 32, headNorms: true, headDim: 128 },
    });
  });

  it('gives every query head its own keys where num_key_value_heads is null', async () => {
    for (const model_type of MODEL_TYPES) {
      const { decoder } = await describeWith({ model_type, num_key_value_heads: null, head_dim: 16 });
      assert.equal(decoder.kvHeadCount, 4, model_type);
    }
  });

  it('puts biases where each family has them', async () => {
    const biases = async (fields: Fields): Promise<boolean[]> => {
      const { qkvBias, outputBias, mlpBias } = (await describeWith({ num_key_value_heads: 2, ...fields })).decoder;
      return [qkvBias, outputBias, mlpBias];
    };
    const all = { attention_bias: true, mlp_bias: true };
    assert.deepEqual(await biases({ model_type: 'llama', ...all }), [true, true, true]);
    assert.deepEqual(await biases({ model_type: 'llama', attention_bias: true }), [true, true, false]);
    assert.deepEqual(await biases({ model_type: 'mistral', ...all }), [false, false, false]);
    assert.deepEqual(await biases({ model_type: 'qwen2', ...all }), [true, false, false]);
    assert.deepEqual(await biases({ model_type: 'qwen3', ...all }), [true, true, false]);
  });

  it('slides Mistral’s window in every layer, unless there is none', async () => {
    const windows = async (fields: Fields): Promise<unknown> =>
      (await describeWith({ model_type: 'mistral', num_key_value_heads: 2, ...fields })).decoder.windows;
    assert.deepEqual(await windows({ sliding_window: 7 }), [7, 7, 7]);
    assert.deepEqual(await windows({ sliding_window: null }), [undefined, undefined, undefined]);
  });

  it('slides Qwen’s window in the layers that the config means, where it is switched on', async () => {
    for (const model_type of ['qwen2', 'qwen3']) {
      const windows = async (fields: Fields): Promise<unknown> =>
        (await describeWith({ model_type, num_key_value_heads: 2, ...fields })).decoder.windows;
      const on = { use_sliding_window: true, sliding_window: 7 };
      const types = ['sliding_attention', 'full_attention', 'sliding_attention'];
      assert.deepEqual(await windows({ sliding_window: 7, max_window_layers: 0 }), [undefined, undefined, undefined]);
      assert.deepEqual(await windows({ ...on, max_window_layers: 1 }), [undefined, 7, 7]);
      assert.deepEqual(await windows(on), [undefined, undefined, undefined]);
      assert.deepEqual(await windows({ ...on, max_window_layers: 0, layer_types: types }), [7, undefined, 7]);
      assert.deepEqual(
        await windows({ ...on, use_sliding_window: false, layer_types: types }),
        Array(3).fill(undefined),
      );
    }
  });

  it('is refused by the field', async () => {
    const llama = { model_type: 'llama' };
    assert.match(await refusal({ ...llama, vocab_size: undefined }), /^config\.json: vocab_size: /);
    assert.match(await refusal({ ...llama, hidden_size: '64' }), /^config\.json: hidden_size: /);
    assert.match(await refusal({ ...llama, num_hidden_layers: 0 }), /^config\.json: num_hidden_layers: /);
    assert.match(await refusal({ ...llama, num_hidden_layers: 1e6 }), /^config\.json: num_hidden_layers: /);
    assert.match(
      await refusal({ ...llama, rope_scaling: { rope_type: 3 } }),
      /^config\.json: rope_scaling\.rope_type: /,
    );
    assert.match(await refusal({}), /^config\.json: model_type: /);
    assert.equal(
      await refusal({ ...llama, hidden_act: 'gelu' }),
      'config.json: hidden_act `gelu` is not known; known is silu',
    );
    assert.equal(await refusal({ ...llama, head_dim: 15 }), 'config.json: head_dim is not an even number');
    assert.equal(await refusal({ ...llama, num_attention_heads: 3 }), 'config.json: head_dim is not an even number');
    assert.equal(
      await refusal({ ...llama, num_key_value_heads: 3 }),
      'config.json: num_attention_heads is not a multiple of num_key_value_heads',
    );
    assert.equal(
      await refusal({ ...llama, rope_scaling: { rope_type: 'dynamic', factor: 2 } }),
      'config.json: rope type `dynamic` is not known; known are default, linear, llama3, yarn',
    );
    assert.match(
      await refusal({ ...llama, rope_scaling: { rope_type: 'linear' } }),
      /`linear` needs a positive `factor`$/,
    );
  });

  it('is refused with the known types where its type is not', async () => {
    const known = MODEL_TYPES.join(', ');
    assert.equal(known, 'llama, mistral, qwen2, qwen3');
    for (const type of ['gemma', 'constructor', '__proto__']) {
      assert.equal(await refusal({ model_type: type }), `model_type \`${type}\` is not known; known are ${known}`);
    }
  });

  it('is refused where it cannot be read, without telling where it should have been', async () => {
    const missing = describeModel('some/model', join(folder, 'nowhere'));
    await assert.rejects(missing, { message: 'model `some/model` cannot be served: config.json cannot be read' });
    writeFileSync(join(folder, 'config.json'), '{"model_type": ');
    await assert.rejects(describeModel('some/model', folder), /config\.json is not valid JSON$/);
  });
});

describe('the ids that end a generation', () => {
  const generation = join(folder, 'generation_config.json');

  async function ids(generationConfig: Fields | undefined, config: Fields): Promise<readonly number[]> {
    const { config: parsed } = await describeWith({ model_type: 'llama', ...config });
    if (generationConfig === undefined) rmSync(generation, { force: true });
    else writeFileSync(generation, JSON.stringify(generationConfig));
    return eosTokenIds('some/model', folder, parsed, [99]);
  }

  it('are the generation config’s, else the model’s, else the tokenizer’s', async () => {
    assert.deepEqual(await ids({ eos_token_id: [3, 4] }, { eos_token_id: 5 }), [3, 4]);
    assert.deepEqual(await ids({ eos_token_id: 3 }, { eos_token_id: 5 }), [3]);
    assert.deepEqual(await ids({}, { eos_token_id: [5, 6] }), [5, 6]);
    assert.deepEqual(await ids(undefined, { eos_token_id: 5 }), [5]);
    assert.deepEqual(await ids(undefined, { eos_token_id: null }), [99]);
    assert.deepEqual(await ids({ eos_token_id: null }, {}), [99]);
  });

  it('are not guessed where the generation config is broken', async () => {
    const { config } = await describeWith({ model_type: 'llama' });
    writeFileSync(generation, 'eos: 3');
    await assert.rejects(eosTokenIds('some/model', folder, config, [99]), /generation_config\.json is not valid JSON/);
  });
});

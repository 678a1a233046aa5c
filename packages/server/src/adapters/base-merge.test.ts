import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import type { LowRankFactors } from '../backend/adapters.ts';
import type { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import { assertClose, relativeError } from '../testing/closeness.ts';
import { referenceLogits } from '../testing/reference-model.ts';
import { Setting, type SettingOptions } from '../testing/setting.ts';
import { writeTinyAdapter, type TinyAdapterOptions } from '../testing/tiny-adapter.ts';
import { makeTinyModel, type TinyModel, type TinyWeights } from '../testing/tiny-model.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import { baseMerge } from './base-merge.ts';

const PROMPT = [256, 84, 104, 101, 32, 99, 97, 116, 32, 104, 97, 100];
const LINEAR = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
const { signal } = new AbortController();

/** Against the merged weights, rounded to the same type: a sum between two numbers of it may go the other way. */
const TOLERANCE: Readonly<Record<Dtype, number>> = { float32: 1e-5, bfloat16: 1e-3, float16: 1e-3 };
/** Against the adapter beside the same base, whose weights are rounded before it is added, not after. */
const BESIDE: Readonly<Record<Dtype, number>> = { float32: 1e-5, bfloat16: 4e-2, float16: 4e-3 };
/** An adapter that does nothing would be closer than this to the base. */
const PLAIN_EFFECT = 1e-2;

const ADAPTERS: Readonly<Record<string, TinyAdapterOptions>> = {
  'one target': { rank: 4, alpha: 8, targets: ['q_proj', 'v_proj'] },
  'all linear layers': { rank: 3, targets: LINEAR },
  'a single layer': { rank: 4, targets: ['layers.1.mlp.down_proj'] },
  'a rank above the width': { rank: 40, targets: ['v_proj', 'o_proj'] },
  'rank-stabilised scaling': { rank: 4, alpha: 8, rsLora: true, targets: LINEAR },
  'a rank for each module': { rank: 2, alpha: 4, ranks: { q_proj: 8, 'layers.0.mlp.up_proj': 5 }, targets: LINEAR },
  DoRA: { rank: 4, alpha: 8, dora: true, targets: LINEAR },
  'the output layer': { rank: 4, targets: ['lm_head'] },
  'the output layer by DoRA': { rank: 4, dora: true, targets: ['lm_head', 'q_proj'] },
  'the embedding': { rank: 4, targets: ['embed_tokens'] },
  'the embedding and linear layers': { rank: 4, alpha: 2, targets: ['embed_tokens', ...LINEAR, 'lm_head'] },
};

const BIASED: Readonly<Record<string, TinyAdapterOptions>> = {
  'LoRA beside biases': { rank: 4, targets: LINEAR },
  'DoRA beside biases': { rank: 4, dora: true, targets: LINEAR },
};

const TIED: Readonly<Record<string, TinyAdapterOptions>> = {
  'the embedding alone': { rank: 4, targets: ['embed_tokens'] },
  'the output layer alone': { rank: 4, targets: ['lm_head'] },
  'both ends': { rank: 4, targets: ['embed_tokens', 'lm_head'] },
  'neither end': { rank: 4, targets: LINEAR },
};

const REFUSED: Readonly<Record<string, readonly [TinyAdapterOptions, tensor: string]>> = {
  'an output layer of its own': [{ rank: 4, targets: ['q_proj'], saved: ['lm_head'] }, 'lm_head.weight'],
  'an embedding of its own': [{ rank: 4, targets: ['q_proj'], saved: ['embed_tokens'] }, 'model.embed_tokens.weight'],
  'biases on B': [{ rank: 4, loraBias: true, targets: ['o_proj'] }, 'model.layers.0.self_attn.o_proj.lora_B.bias'],
  'trained biases': [
    { rank: 4, targets: ['q_proj'], trainedBiases: true },
    'model.layers.0.self_attn.q_proj.base_layer.bias',
  ],
};

afterEach(() => assert.deepEqual(liveHandles(), {}));

describe('an adapter merged into the base', () => {
  describeMerges('a Llama', makeTinyModel(), ADAPTERS);
  describeMerges('a Llama with biases', makeTinyModel({ attention_bias: true, mlp_bias: true }), BIASED);
  describeMerges('a Llama with tied embeddings', makeTinyModel({ tie_word_embeddings: true }), TIED);

  it('is rounded once where the base is held in another type than its file has', async () => {
    const model = makeTinyModel();
    await compare(model, ADAPTERS['DoRA']!, { stored: 'float32', dtype: 'bfloat16' });
    await compare(model, ADAPTERS['DoRA']!, { stored: 'bfloat16', dtype: 'float16' });
    await compare(model, ADAPTERS['the embedding and linear layers']!, { stored: 'float16', dtype: 'float32' });
  });

  for (const [what, [options, tensor]] of Object.entries(REFUSED)) {
    it(`is refused by the tensor's name: ${what}`, async () => {
      const setting = await Setting.open({ model: makeTinyModel({ attention_bias: true }) });
      try {
        await assert.rejects(mergeOf(setting, options), (error: LoraxError) => {
          assert.equal(error.code, 'ADAPTER_INVALID');
          assert.match(error.message, /--merge-adapter-weights/);
          return error.message.includes(`tensor base_model.model.${tensor} `);
        });
      } finally {
        setting.dispose();
      }
    });
  }

  it('leaves nothing behind where the sum does not fit the type of the base', async () => {
    const beyond = { rank: 4, alpha: 1e9, targets: ['down_proj'] };
    const fault = /model\.layers\.0\.mlp\.down_proj\.weight: with the adapter merged .* float16 cannot hold/;
    await assert.rejects(compare(makeTinyModel(), beyond, { dtype: 'float16' }), fault);
  });

  it('leaves nothing behind where a value is not finite', async () => {
    const setting = await Setting.open();
    try {
      const { folder, id, config, tensors } = setting.writeAdapter(ADAPTERS['all linear layers']!);
      const name = 'base_model.model.model.layers.1.mlp.up_proj.lora_B.weight';
      tensors.get(name)!.values[5] = NaN;
      writeTinyAdapter(folder, { config, tensors });
      const { tensors: read } = await setting.loader.read(folder, id, signal);
      const opening = Setting.open({ merged: baseMerge(read, id) });
      await assert.rejects(opening, { code: 'FILE_INVALID', message: new RegExp(`^${name}: `) });
    } finally {
      setting.dispose();
    }
  });
});

function describeMerges(name: string, model: TinyModel, adapters: Readonly<Record<string, TinyAdapterOptions>>): void {
  for (const dtype of ['float32', 'bfloat16'] as const) {
    for (const [what, options] of Object.entries(adapters)) {
      it(`of ${name} in ${dtype} answers as beside it: ${what}`, () => compare(model, options, { dtype }));
    }
  }
}

/** The same prompt: the bare base, the adapter beside it, the adapter in it. */
async function compare(
  model: TinyModel,
  options: TinyAdapterOptions,
  held: Pick<SettingOptions, 'stored'> & { readonly dtype: Dtype },
): Promise<void> {
  const settingOptions: SettingOptions = { model, ...held, kvDtype: 'float32' };
  const beside = await Setting.open(settingOptions);
  try {
    const bare = await beside.logitsOf(PROMPT);
    const adapter = await beside.loadAdapter(options);
    const wanted = await beside.logitsOf(PROMPT, adapter);
    const logits = await logitsWith({ ...settingOptions, merged: await mergeOf(beside, options) });
    const weights = rounded(adapter.merged, held.dtype);
    assertClose(logits, referenceLogits(model.config, weights, PROMPT), TOLERANCE[held.dtype], 'the merged weights');
    assertClose(logits, wanted, BESIDE[held.dtype], 'the adapter beside the base');
    assert.ok(relativeError(logits.at(-1)!, bare.at(-1)!) > PLAIN_EFFECT, 'the adapter has an effect');
  } finally {
    beside.dispose();
  }
}

async function mergeOf(setting: Setting, options: TinyAdapterOptions): Promise<ReadonlyMap<string, LowRankFactors>> {
  const { folder, id } = setting.writeAdapter(options);
  const { tensors } = await setting.loader.read(folder, id, signal);
  return baseMerge(tensors, id);
}

async function logitsWith(options: SettingOptions): Promise<Float32Array[]> {
  const setting = await Setting.open(options);
  try {
    return await setting.logitsOf(PROMPT);
  } finally {
    setting.dispose();
  }
}

/** Matrices as `dtype` holds them, to the nearest and ties to even. */
function rounded(weights: TinyWeights, dtype: Dtype): TinyWeights {
  const bits = { float32: 24, bfloat16: 8, float16: 11 }[dtype];
  const round = (value: number): number => {
    if (value === 0) return 0;
    const smallest = dtype === 'float16' ? -14 : -126;
    const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), smallest) - bits + 1);
    const steps = value / unit;
    const near = Math.round(steps);
    return (Math.abs(steps - Math.trunc(steps)) === 0.5 && near % 2 !== 0 ? near - 1 : near) * unit;
  };
  return new Map(
    [...weights].map(([name, { shape, values }]) => [
      name,
      { shape, values: shape.length === 1 ? values : Float64Array.from(values, round) },
    ]),
  );
}

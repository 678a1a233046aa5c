import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import { assertClose, relativeError } from '../testing/closeness.ts';
import { handlesBesideSteps } from '../testing/handles.ts';
import { referenceLogits } from '../testing/reference-model.ts';
import { Setting } from '../testing/setting.ts';
import { writeTinyAdapter, type TinyAdapterOptions } from '../testing/tiny-adapter.ts';
import { makeTinyModel, type TinyModel } from '../testing/tiny-model.ts';
import { oneSlot } from '../backend/step.ts';

const PROMPT = [256, 84, 104, 101, 32, 99, 97, 116, 32, 104, 97, 100];
const LINEAR = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
const TOLERANCE = 1e-5;
/** An adapter that does nothing would be closer than this to the base. */
const PLAIN_EFFECT = 1e-2;

const ADAPTERS: Readonly<Record<string, TinyAdapterOptions>> = {
  'one target': { rank: 4, alpha: 8, targets: ['q_proj'] },
  'all linear layers': { rank: 3, targets: LINEAR },
  'a single layer': { rank: 4, targets: ['layers.1.mlp.down_proj'] },
  'rank 1': { rank: 1, targets: ['v_proj'] },
  'a rank above the width': { rank: 40, targets: ['v_proj', 'o_proj'] },
  'rank-stabilised scaling': { rank: 4, alpha: 8, rsLora: true, targets: LINEAR },
  'a rank for each module': { rank: 2, alpha: 4, ranks: { q_proj: 8, 'layers.0.mlp.up_proj': 5 }, targets: LINEAR },
  DoRA: { rank: 4, alpha: 8, dora: true, targets: LINEAR },
  'biases on B': { rank: 4, alpha: 8, loraBias: true, targets: LINEAR },
  'the output layer': { rank: 4, targets: ['lm_head'] },
  'the output layer by DoRA': { rank: 4, dora: true, targets: ['lm_head', 'q_proj'] },
  'the embedding': { rank: 4, targets: ['embed_tokens'] },
  'the embedding and linear layers': { rank: 4, alpha: 2, targets: ['embed_tokens', ...LINEAR, 'lm_head'] },
  'an output layer of its own': { rank: 4, targets: ['q_proj'], saved: ['lm_head'] },
  'an embedding of its own': { rank: 4, targets: ['q_proj'], saved: ['embed_tokens'] },
  'both ends of its own': { rank: 4, targets: ['q_proj'], saved: ['embed_tokens', 'lm_head'] },
};

const BIASED: Readonly<Record<string, TinyAdapterOptions>> = {
  'LoRA beside biases': { rank: 4, targets: LINEAR },
  'DoRA beside biases': { rank: 4, dora: true, targets: LINEAR },
  'trained biases': { rank: 4, targets: LINEAR, trainedBiases: true },
  'trained biases and biases on B': { rank: 4, targets: ['q_proj'], loraBias: true },
};

const TIED: Readonly<Record<string, TinyAdapterOptions>> = {
  'the embedding alone': { rank: 4, targets: ['embed_tokens'] },
  'the output layer alone': { rank: 4, targets: ['lm_head'] },
  'an embedding of its own': { rank: 4, targets: ['v_proj'], saved: ['embed_tokens'] },
};

describeAdapters('a Llama', makeTinyModel(), ADAPTERS);
describeAdapters('a Llama with biases', makeTinyModel({ attention_bias: true, mlp_bias: true }), BIASED);
describeAdapters('a Llama with tied embeddings', makeTinyModel({ tie_word_embeddings: true }), TIED);

function describeAdapters(
  name: string,
  model: TinyModel,
  adapters: Readonly<Record<string, TinyAdapterOptions>>,
): void {
  describe(`adapters of ${name} give the results of the merged weights`, () => {
    let setting: Setting;
    let base: Float32Array[];
    before(async () => {
      setting = await Setting.open({ model });
      base = await setting.logitsOf(PROMPT);
    });
    after(() => {
      setting.dispose();
      assert.deepEqual(liveHandles(), {});
    });

    it('as the bare model gives those of its own', () => {
      assertClose(base, referenceLogits(model.config, model.weights, PROMPT), TOLERANCE);
    });

    for (const [what, options] of Object.entries(adapters)) {
      it(what, async () => {
        const before = handlesBesideSteps();
        const adapter = await setting.loadAdapter(options);
        const logits = await setting.logitsOf(PROMPT, adapter);
        assertClose(logits, referenceLogits(model.config, adapter.merged, PROMPT), TOLERANCE, what);
        assert.ok(relativeError(logits.at(-1)!, base.at(-1)!) > PLAIN_EFFECT, 'the adapter has an effect');
        assert.ok(adapter.slot.byteLength > 0);
        setting.unload(adapter);
        assert.deepEqual(handlesBesideSteps(), before);
      });
    }

    it('all of them at the same time, beside the bare model', async () => {
      const loaded = [];
      for (const [i, options] of Object.values(adapters).entries()) loaded.push(await setting.loadAdapter(options, i));
      const rows = [undefined, ...loaded].map((adapter, i) => ({
        ...{ tokens: PROMPT, position: 0, firstCell: i * PROMPT.length, adapters: oneSlot(adapter?.slot) },
        outputCount: PROMPT.length,
      }));
      const logits = await setting.step(rows);
      assertClose(logits[0]!, base, TOLERANCE);
      for (const [i, adapter] of loaded.entries()) {
        assertClose(logits[i + 1]!, referenceLogits(model.config, adapter.merged, PROMPT), TOLERANCE, `adapter ${i}`);
        setting.unload(adapter);
      }
    });
  });
}

describe('an adapter with values that are not finite', () => {
  let setting: Setting;
  before(async () => void (setting = await Setting.open()));
  after(() => setting.dispose());

  const BROKEN: Readonly<Record<string, [TinyAdapterOptions, tensor: string]>> = {
    'in A': [{ rank: 4, targets: LINEAR }, 'base_model.model.model.layers.1.mlp.up_proj.lora_A.weight'],
    'in B': [{ rank: 4, targets: ['q_proj'] }, 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight'],
    'in a magnitude': [
      { rank: 4, dora: true, targets: ['q_proj'] },
      'base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector',
    ],
    'in a bias of B': [
      { rank: 4, loraBias: true, targets: ['q_proj'] },
      'base_model.model.model.layers.1.self_attn.q_proj.lora_B.bias',
    ],
    'in the embedding': [
      { rank: 4, targets: ['embed_tokens'] },
      'base_model.model.model.embed_tokens.lora_embedding_A',
    ],
    'in a whole module': [{ rank: 4, targets: ['q_proj'], saved: ['lm_head'] }, 'base_model.model.lm_head.weight'],
  };
  for (const [what, [options, tensor]] of Object.entries(BROKEN)) {
    it(`is refused by the tensor's name, and leaves nothing behind: ${what}`, async () => {
      const before = handlesBesideSteps();
      const { folder, tensors, config } = setting.writeAdapter(options);
      tensors.get(tensor)!.values[5] = what === 'in B' ? Infinity : NaN;
      writeTinyAdapter(folder, { config, tensors });
      const error: unknown = await setting.loader.load(folder, 'broken', new AbortController().signal).then(
        () => assert.fail('it was loaded'),
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof LoraxError, String(error));
      assert.equal(error.spec.status, 422);
      assert.ok(error.message.includes(tensor), error.message);
      assert.deepEqual(handlesBesideSteps(), before);
    });
  }
});

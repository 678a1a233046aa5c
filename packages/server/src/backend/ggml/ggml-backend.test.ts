import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../../base/handles.ts';
import { assertClose, relativeError } from '../../testing/closeness.ts';
import { Random } from '../../testing/random.ts';
import { referenceLogits } from '../../testing/reference-model.ts';
import { Setting, type AdapterInPlace, type SettingOptions } from '../../testing/setting.ts';
import { makeTinyModel } from '../../testing/tiny-model.ts';
import { oneSlot } from '../step.ts';

/** What float32 allows where the same sums are taken in another order. */
const TOLERANCE = 1e-5;

const CELLS_EACH = 24;

/** A sequence of a random test: which tokens, whose adapter, and how many tokens each of its steps may compute. */
interface Plan {
  readonly tokens: readonly number[];
  readonly adapter: number;
  readonly joinsAt: number;
  readonly chunks: readonly number[];
}

const ADAPTERS = [
  { rank: 4, alpha: 8, targets: ['q_proj', 'v_proj'] },
  { rank: 4, alpha: 4, targets: ['q_proj', 'v_proj'] },
  { rank: 6, ranks: { v_proj: 2 }, targets: ['q_proj', 'v_proj'] },
  { rank: 3, targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'lm_head'] },
  { rank: 4, dora: true, targets: ['o_proj'], saved: ['lm_head'] },
];

const plan: fc.Arbitrary<Plan> = fc.record({
  tokens: fc.integer({ min: 1, max: CELLS_EACH }).map((length) => new Random(length).integers(length, 264)),
  adapter: fc.integer({ min: -1, max: ADAPTERS.length - 1 }),
  joinsAt: fc.nat(4),
  chunks: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
});

describe('a step', () => {
  let setting: Setting;
  const adapters: AdapterInPlace[] = [];
  before(async () => {
    setting = await Setting.open();
    for (const [i, options] of ADAPTERS.entries()) adapters.push(await setting.loadAdapter(options, i));
  });
  after(() => {
    setting.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  it('gives each sequence the logits that it has alone, however it is cut, whoever joins and leaves', async () => {
    const sequences = fc.array(plan, { minLength: 1, maxLength: 7 });
    await fc.assert(
      fc.asyncProperty(sequences, async (plans) => {
        const together = await runTogether(setting, adapters, plans);
        for (const [i, { tokens, adapter }] of plans.entries()) {
          assertClose(together[i]!, await setting.logitsOf(tokens, adapters[adapter]), TOLERANCE, `sequence ${i}`);
        }
      }),
      { seed: 1, numRuns: 40 },
    );
  });

  it('covers neighbours in one product though their rank rows lie apart', async () => {
    const neighbours: AdapterInPlace[] = [];
    const options = { rank: 6, ranks: { v_proj: 2 }, targets: ['v_proj', 'down_proj'] };
    for (const seed of [1, 2, 3]) neighbours.push(await setting.loadAdapter(options, seed));
    const segment = { position: 0, outputCount: 1, tokens: [7, 8, 9] };
    const together = await setting.step(
      neighbours.map(({ slot }, i) => ({ ...segment, firstCell: i * CELLS_EACH, adapters: oneSlot(slot) })),
    );
    for (const [i, adapter] of neighbours.entries()) {
      const alone = await setting.logitsOf(segment.tokens, adapter);
      assertClose(together[i]!, alone.slice(-1), TOLERANCE, `neighbour ${i}`);
      setting.unload(adapter);
    }
  });

  it('gives the same bits for the same rows', async () => {
    const tokens = new Random(3).integers(12, 264);
    const segments = adapters.map(({ slot }, i) => ({
      ...{ tokens, position: 0, firstCell: i * CELLS_EACH, adapters: oneSlot(slot), outputCount: 2 },
    }));
    assert.deepEqual(await setting.step(segments), await setting.step(segments));
  });

  it('is built again where its graph is larger than the first', async () => {
    const one = await Setting.open({ cellCount: 900 });
    try {
      const adapter = await one.loadAdapter(ADAPTERS[0]!);
      const segments = Array.from({ length: 800 }, (_, i) => ({
        ...{ tokens: [i % 264], position: 0, firstCell: i, outputCount: 1 },
        adapters: oneSlot(i % 2 === 0 ? adapter.slot : undefined),
      }));
      const whole = (await one.step(segments)).flat();
      const parts: Float32Array[] = [];
      for (let i = 0; i < 800; i += 100) parts.push(...(await one.step(segments.slice(i, i + 100))).flat());
      assertClose(whole, parts, TOLERANCE);
    } finally {
      one.dispose();
    }
  });

  it('reduces a row to its best token and that token’s log-probability', async () => {
    const tokens = new Random(5).integers(9, 264);
    const segment = {
      tokens,
      position: 0,
      firstCell: 0,
      adapters: oneSlot(adapters[0]!.slot),
      outputCount: tokens.length,
    };
    const output = await setting.backend.runStep(setting.model.decoder, setting.kv.store, [segment], {
      reduce: true,
      keepHidden: false,
    });
    for (let row = 0; row < tokens.length; row++) {
      const logits = Array.from(output.logits(0, row));
      const peak = Math.max(...logits);
      const sum = logits.reduce((total, logit) => total + Math.exp(logit - peak), 0);
      const { id, logprob } = output.best(0, row);
      assert.equal(id, logits.indexOf(peak));
      assert.ok(Math.abs(logprob + Math.log(sum)) < 1e-5);
    }
  });

  it('computes no a step while another computation runs, and goes on after the refusal', async () => {
    const segment = { tokens: [1, 2, 3], position: 0, firstCell: 0, adapters: [], outputCount: 1 };
    const first = setting.step([segment]);
    await assert.rejects(setting.step([segment]), /a step while another computation runs/);
    const logits = await first;
    assertClose((await setting.step([segment]))[0]!, logits[0]!, TOLERANCE);
  });
});

async function runTogether(
  setting: Setting,
  adapters: readonly AdapterInPlace[],
  plans: readonly Plan[],
): Promise<Float32Array[][]> {
  const results: Float32Array[][] = plans.map(() => []);
  const positions = plans.map(() => 0);
  for (let step = 0; positions.some((position, i) => position < plans[i]!.tokens.length); step++) {
    const rows = plans.flatMap(({ tokens, adapter, joinsAt, chunks }, i) => {
      const position = positions[i]!;
      if (step < joinsAt || position === tokens.length) return [];
      const chunk = tokens.slice(position, position + chunks[(step - joinsAt) % chunks.length]!);
      positions[i] = position + chunk.length;
      const place = { position, firstCell: i * CELLS_EACH, outputCount: chunk.length };
      return [{ index: i, segment: { ...place, tokens: chunk, adapters: oneSlot(adapters[adapter]?.slot) } }];
    });
    if (rows.length === 0) continue;
    const logits = await setting.step(rows.map(({ segment }) => segment));
    for (const [i, { index }] of rows.entries()) results[index]!.push(...logits[i]!);
  }
  return results;
}

describe('a sliding window', () => {
  const sizes = [1, 3, 8].flatMap((window) => [8, 64].map((headDim) => ({ window, headDim })));
  for (const { window, headDim } of sizes) {
    it(`of ${window} is what the reference sees, whole and in chunks, with heads of ${headDim}`, async () => {
      const model = makeTinyModel({ model_type: 'mistral', sliding_window: window, head_dim: headDim });
      const setting = await Setting.open({ model });
      const tokens = new Random(window).integers(20, 264);
      const expected = referenceLogits(model.config, model.weights, tokens, window);
      try {
        assertClose(await setting.logitsOf(tokens), expected, TOLERANCE);
        for (const chunkLen of [1, 4, 7]) {
          const chunks: Float32Array[] = [];
          for (let position = 0; position < tokens.length; position += chunkLen) {
            const part = tokens.slice(position, position + chunkLen);
            const rest = { firstCell: 0, adapters: [], outputCount: part.length };
            chunks.push(...(await setting.step([{ tokens: part, position, ...rest }]))[0]!);
          }
          assertClose(chunks, expected, TOLERANCE, `chunks of ${chunkLen}`);
        }
      } finally {
        setting.dispose();
      }
    });
  }
});

describe('the cells beyond a sequence', () => {
  for (const headDim of [8, 64]) {
    it(`change nothing, whatever they hold, with heads of ${headDim}`, async () => {
      const cellCount = 40;
      const model = makeTinyModel({ head_dim: headDim });
      const poison = model.config.vocab_size - 1;
      model.weights.get('model.embed_tokens.weight')!.values.fill(NaN, poison * model.config.hidden_size);
      const setting = await Setting.open({ cellCount, model });
      try {
        const tokens = new Random(8).integers(cellCount, poison);
        const expected = await setting.logitsOf(tokens);
        await setting.logitsOf(tokens.map(() => poison));
        for (let end = 1; end <= cellCount; end++) {
          const segment = { tokens: tokens.slice(end - 1, end), position: end - 1, firstCell: 0, outputCount: 1 };
          const [logits] = await setting.step([{ ...segment, adapters: [] }]);
          assertClose(logits!, expected.slice(end - 1, end), TOLERANCE, `after ${end} tokens`);
        }
      } finally {
        setting.dispose();
      }
    });
  }
});

describe('families', () => {
  const FAMILIES = {
    qwen2: { model_type: 'qwen2', tie_word_embeddings: true },
    qwen3: { model_type: 'qwen3', num_key_value_heads: 1 },
    'grouped heads': { model_type: 'llama', num_attention_heads: 6, num_key_value_heads: 2, head_dim: 4 },
    'wide heads': { model_type: 'llama', head_dim: 64 },
  };
  for (const [name, config] of Object.entries(FAMILIES)) {
    it(`${name} equals the reference`, async () => {
      const model = makeTinyModel(config, 3);
      const setting = await Setting.open({ model });
      const tokens = new Random(11).integers(14, 264);
      const logits = await setting.logitsOf(tokens);
      setting.dispose();
      assertClose(logits, referenceLogits(model.config, model.weights, tokens), TOLERANCE);
    });
  }
});

describe('precision', () => {
  const tokens = new Random(2).integers(16, 264);

  async function errors(options: SettingOptions): Promise<{ base: number; adapted: number; batched: number }> {
    const setting = await Setting.open(options);
    try {
      const { config, weights } = setting.tiny;
      const adapter = await setting.loadAdapter({ rank: 4, alpha: 8, targets: ['q_proj', 'down_proj', 'lm_head'] });
      const worst = (rows: readonly Float32Array[], expected: readonly number[][]): number =>
        Math.max(...rows.map((row, i) => relativeError(row, expected[i]!)));
      const alone = await setting.logitsOf(tokens, adapter);
      const segment = { tokens, position: 0, outputCount: tokens.length };
      const [batched] = await setting.step([
        { ...segment, adapters: oneSlot(adapter.slot), firstCell: 0 },
        { ...segment, adapters: [], firstCell: 100 },
      ]);
      return {
        base: worst(await setting.logitsOf(tokens), referenceLogits(config, weights, tokens)),
        adapted: worst(alone, referenceLogits(config, adapter.merged, tokens)),
        batched: Math.max(...alone.map((row, i) => relativeError(batched![i]!, row))),
      };
    } finally {
      setting.dispose();
    }
  }

  for (const dtype of ['float16', 'bfloat16'] as const) {
    it(`high beside ${dtype} weights is nearly float32's, alone and in a batch`, async () => {
      const high = await errors({ dtype, kvDtype: 'float32' });
      assert.ok(high.base < 1e-4 && high.adapted < 1e-4 && high.batched < TOLERANCE, JSON.stringify(high));
    });

    it(`medium beside ${dtype} weights rounds, within what the type allows`, async () => {
      const medium = await errors({ dtype, kvDtype: 'float32', precision: 'medium' });
      const allowed = dtype === 'float16' ? 5e-3 : 4e-2;
      assert.ok(medium.base > 1e-5 && medium.base < allowed && medium.adapted < allowed, JSON.stringify(medium));
    });
  }

  it('of a float16 KV store costs little', async () => {
    const half = await errors({ dtype: 'bfloat16' });
    assert.ok(half.base > 1e-6 && half.base < 3e-3 && half.adapted < 3e-3, JSON.stringify(half));
  });

  it('keeps weights in the type that is asked for', async () => {
    const narrow = await Setting.open({ model: makeTinyModel(), dtype: 'bfloat16' });
    assert.equal(narrow.model.dtype, 'bfloat16');
    narrow.dispose();
  });
});

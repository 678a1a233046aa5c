import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { LoraxError } from '../../base/errors.ts';
import { liveHandles } from '../../base/handles.ts';
import { openAdapterTensors } from '../../weights/tensor-folder.ts';
import type { LoadReport } from '../load-report.ts';
import { LoraConfig } from './lora-config.ts';
import type { LoraWeights, MapOptions } from './lora-weights.ts';
import {
  configBytes,
  fakeModel,
  fakeTensors,
  lowRankShapes,
  shapeOf,
  TINY,
  type Shapes,
} from '../testing/fake-model.ts';

type Fields = Readonly<Record<string, unknown>>;

const MODEL = fakeModel();
const Q0 = 'base_model.model.model.layers.0.self_attn.q_proj';
const QV: Fields = { r: 4, lora_alpha: 8, target_modules: ['q_proj', 'v_proj'] };

const isQv = (path: string): boolean => path.endsWith('q_proj') || path.endsWith('v_proj');
const QV_SHAPES = lowRankShapes(
  MODEL.sites.filter(({ path }) => isQv(path)),
  () => 4,
);

function map(fields: Fields, shapes: Shapes, options: MapOptions = {}): LoraWeights {
  return LoraConfig.parse(configBytes(fields), 'id').mapWeightsForModel(fakeTensors(shapes), MODEL, options);
}

interface Refusal {
  readonly message: string;
  readonly report: LoadReport;
}

function refusal(fields: Fields, shapes: Shapes, options: MapOptions = {}): Refusal {
  try {
    map(fields, shapes, options);
  } catch (error) {
    assert.ok(error instanceof LoraxError && error.code === 'ADAPTER_INVALID', String(error));
    return { message: error.message, report: error.details as LoadReport };
  }
  throw new assert.AssertionError({ message: 'nothing was refused' });
}

function without(shapes: Shapes, ...names: string[]): Shapes {
  return Object.fromEntries(Object.entries(shapes).filter(([name]) => !names.includes(name)));
}

function renamed(shapes: Shapes, rename: (name: string) => string): Shapes {
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [rename(name), shape]));
}

function assertComplete({ report }: LoraWeights, tensorCount: number): void {
  assert.deepEqual(report.tensors, {
    usedCount: tensorCount,
    unused: { count: 0, first: [] },
    missing: { count: 0, first: [] },
    faults: { count: 0, first: [] },
  });
}

describe('mapping an adapter to a model', () => {
  it('gives each targeted module its factors, rank and scale', () => {
    const weights = map(QV, QV_SHAPES);
    assertComplete(weights, 8);
    assert.deepEqual(
      weights.modules.map(({ site, rank, scale, a, b }) => [site.path, rank, scale, a.shape, b.shape]),
      [0, 1].flatMap((i) => [
        [`model.layers.${i}.self_attn.q_proj`, 4, 2, [4, 64], [64, 4]],
        [`model.layers.${i}.self_attn.v_proj`, 4, 2, [4, 64], [32, 4]],
      ]),
    );
    assert.deepEqual(weights.report.totals, { parameterCount: 1792, bytes: 7168 });
  });

  it('reads every spelling that PEFT has used', () => {
    const spellings: ((name: string) => string)[] = [
      (name) => name.replace('base_model.model.', ''),
      (name) => name.replace(/lora_([AB])/, 'lora_$1.default'),
      (name) => name.replace(/lora_([AB])/, 'lora_$1.other-name'),
    ];
    for (const spelling of spellings) assertComplete(map(QV, renamed(QV_SHAPES, spelling)), 8);
  });

  it('takes embeddings, in either spelling', () => {
    const fields = { r: 4, target_modules: ['embed_tokens'] };
    for (const suffix of ['', '.default']) {
      const path = 'base_model.model.model.embed_tokens';
      const shapes = {
        [`${path}.lora_embedding_A${suffix}`]: [4, 320],
        [`${path}.lora_embedding_B${suffix}`]: [64, 4],
      };
      const [module] = map(fields, shapes).modules;
      assert.equal(module?.site.kind, 'embedding');
      assert.deepEqual(
        [module.a.shape, module.b.shape],
        [
          [4, 320],
          [64, 4],
        ],
      );
    }
  });

  it('takes magnitudes of DoRA, in every spelling', () => {
    const fields = { r: 4, target_modules: ['0.self_attn.q_proj'], use_dora: true };
    const factors = { [`${Q0}.lora_A.weight`]: [4, 64], [`${Q0}.lora_B.weight`]: [64, 4] };
    for (const suffix of ['', '.weight', '.default', '.default.weight']) {
      const weights = map(fields, { ...factors, [`${Q0}.lora_magnitude_vector${suffix}`]: [64] });
      assert.deepEqual(weights.modules[0]?.magnitude?.shape, [64], suffix);
      assert.equal(weights.report.modules[0]?.dora, true);
    }
  });

  it('takes the bias of B', () => {
    const fields = { r: 4, target_modules: ['0.self_attn.q_proj'], lora_bias: true };
    const factors = { [`${Q0}.lora_A.weight`]: [4, 64], [`${Q0}.lora_B.weight`]: [64, 4] };
    const weights = map(fields, { ...factors, [`${Q0}.lora_B.bias`]: [64] });
    assert.deepEqual(weights.modules[0]?.bias?.shape, [64]);
    assertComplete(weights, 3);
    assert.match(refusal(fields, factors).message, /missing tensor .*lora_B\.bias/);
  });

  it('takes whole modules, in every spelling', () => {
    const fields = { ...QV, modules_to_save: ['lm_head', 'embed_tokens'] };
    for (const inside of ['', '.modules_to_save', '.modules_to_save.default', '.base_layer']) {
      const weights = map(fields, {
        ...QV_SHAPES,
        [`base_model.model.lm_head${inside}.weight`]: [320, 64],
        [`base_model.model.lm_head${inside}.bias`]: [320],
        [`base_model.model.model.embed_tokens${inside}.weight`]: [320, 64],
      });
      assertComplete(weights, 11);
      assert.deepEqual(
        weights.replacements.map(({ site, bias }) => [site.path, bias?.shape]),
        [
          ['model.embed_tokens', undefined],
          ['lm_head', [320]],
        ],
      );
    }
  });

  it('takes the embedding that PEFT saves beside its factors', () => {
    const path = 'base_model.model.model.embed_tokens';
    const weights = map(
      { r: 4, target_modules: ['embed_tokens'] },
      {
        [`${path}.lora_embedding_A`]: [4, 320],
        [`${path}.lora_embedding_B`]: [64, 4],
        [`${path}.base_layer.weight`]: [320, 64],
      },
    );
    assert.equal(weights.modules[0]?.site, weights.replacements[0]?.site);
    assert.deepEqual(
      weights.report.modules.map(({ rank, replacesWeight }) => [rank, replacesWeight]),
      [[4, true]],
    );
  });

  it('takes biases of the base that were trained along', () => {
    const biases = { [`${Q0}.base_layer.bias`]: [64], 'base_model.model.model.layers.1.mlp.up_proj.bias': [112] };
    const weights = map({ ...QV, bias: 'all' }, { ...QV_SHAPES, ...biases });
    assert.deepEqual(
      weights.trainedBiases.map(({ site }) => site.path),
      ['model.layers.0.self_attn.q_proj', 'model.layers.1.mlp.up_proj'],
    );
    assertComplete(weights, 10);
  });

  it('takes tensors at their word where the configuration names no targets', () => {
    assertComplete(map({ r: 4, target_modules: null }, QV_SHAPES), 8);
  });

  it('tells the configuration’s unknown fields', () => {
    assert.deepEqual(map({ ...QV, use_new_math: true }, QV_SHAPES).report.ignoredConfigFields, ['use_new_math']);
  });

  it('reports in data that JSON keeps', () => {
    const { report } = map(QV, QV_SHAPES);
    assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
  });

  it('accounts for every tensor, whatever is in the file', () => {
    const names = Object.keys(QV_SHAPES);
    const name = fc.oneof(
      fc.constantFrom(...names),
      fc.string(),
      fc.constantFrom('lm_head.weight', 'model.norm.weight'),
    );
    const shape = fc.array(fc.constantFrom(4, 32, 64, 320), { maxLength: 3 });
    fc.assert(
      fc.property(fc.dictionary(name, shape), fc.boolean(), (shapes, keepAll) => {
        const all: Shapes = keepAll ? { ...shapes, ...QV_SHAPES } : shapes;
        const outcome = tensorsOf(() => map(QV, all, { strict: false }).report);
        assert.equal(outcome.usedCount + outcome.unused.count + outcome.faults.count, Object.keys(all).length);
      }),
    );
  });
});

function tensorsOf(load: () => LoadReport): LoadReport['tensors'] {
  try {
    return load().tensors;
  } catch (error) {
    assert.ok(error instanceof LoraxError && error.code === 'ADAPTER_INVALID', String(error));
    return (error.details as LoadReport).tensors;
  }
}

describe('an adapter that does not fit', () => {
  it('is refused for a rank that is not the configuration’s', () => {
    const { message } = refusal({ ...QV, rank_pattern: { q_proj: 8 } }, QV_SHAPES);
    assert.match(message, /q_proj\.lora_A\.weight": its rank is 4, the configuration says 8.*\(and 3 more\)/);
  });

  it('is refused for sizes that are not the model’s', () => {
    const wrong = { ...QV_SHAPES, [`${Q0}.lora_B.weight`]: [63, 4] };
    assert.match(refusal(QV, wrong).message, /q_proj\.lora_B\.weight": its shape is \[63, 4\], needed is \[64, 4\]/);
    const flat = { ...QV_SHAPES, [`${Q0}.lora_A.weight`]: [256] };
    assert.match(refusal(QV, flat, { strict: false }).message, /its shape is \[256\], needed is \[4, 64\]/);
  });

  it('is refused for another vocabulary, and told so', () => {
    const fields = { ...QV, modules_to_save: ['lm_head'] };
    const { message } = refusal(fields, { ...QV_SHAPES, 'base_model.model.lm_head.weight': [321, 64] });
    assert.match(
      message,
      /\[321, 64\], needed is \[320, 64\]: the adapter was trained with a vocabulary of another size/,
    );
    const path = 'base_model.model.model.embed_tokens';
    const resized = { [`${path}.lora_embedding_A`]: [4, 321], [`${path}.lora_embedding_B`]: [64, 4] };
    assert.match(refusal({ r: 4, target_modules: ['embed_tokens'] }, resized).message, /vocabulary of another size/);
  });

  it('is refused for half of a pair', () => {
    const { message, report } = refusal(QV, without(QV_SHAPES, `${Q0}.lora_B.weight`));
    assert.match(message, /missing tensor .*q_proj\.lora_B\.weight/);
    assert.match(report.tensors.unused.first[0]?.reason ?? '', /incomplete/);
  });

  it('is refused for a module that its configuration promises', () => {
    const shapes = without(QV_SHAPES, `${Q0}.lora_A.weight`, `${Q0}.lora_B.weight`);
    assert.equal(refusal(QV, shapes).report.tensors.missing.count, 2);
    assertComplete(
      map(
        { ...QV, layers_to_transform: [1] },
        lowRankShapes(
          MODEL.sites.filter(({ path }) => isQv(path) && path.includes('.1.')),
          () => 4,
        ),
      ),
      4,
    );
  });

  it('is refused for a copy that its configuration promises', () => {
    assert.match(
      refusal({ ...QV, modules_to_save: ['lm_head'] }, QV_SHAPES).message,
      /missing tensor .*lm_head\.weight/,
    );
  });

  it('is refused for a missing magnitude, and for one that is too many', () => {
    assert.match(refusal({ ...QV, use_dora: true }, QV_SHAPES).message, /missing tensor .*lora_magnitude_vector/);
    const { message } = refusal(QV, { ...QV_SHAPES, [`${Q0}.lora_magnitude_vector`]: [64] });
    assert.match(message, /unused tensor .*use_dora is off/);
  });

  it('is refused for tensors without a place, with the reason', () => {
    const strangers: Readonly<Record<string, RegExp>> = {
      'base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight': /with 2 layers has no such module/,
      'base_model.model.model.norm.weight': /adapters cannot enter this module of a LlamaForCausalLM/,
      'base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight': /does not target this module/,
      [`${Q0}.lora_embedding_A`]: /this module is a linear/,
      [`${Q0}.lora_B.bias`]: /lora_bias is off/,
      'base_model.model.model.embed_tokens.bias': /an embedding has no bias/,
      prompt_embeddings: /none that PEFT gives/,
    };
    for (const [name, reason] of Object.entries(strangers)) {
      const { message } = refusal(QV, { ...QV_SHAPES, [name]: [4, 64] });
      assert.match(message, reason);
      assert.ok(message.includes(name), message);
    }
  });

  it('is refused for one tensor in two spellings, and for two adapters in one file', () => {
    const twice = { ...QV_SHAPES, [`${Q0}.lora_A.default.weight`]: [4, 64] };
    assert.match(refusal(QV, twice, { strict: false }).message, /same tensor in another spelling/);
    const two = renamed(QV_SHAPES, (name) =>
      name.replace(/lora_([AB])/, name.startsWith(Q0) ? 'lora_$1.x' : 'lora_$1.y'),
    );
    assert.match(refusal(QV, two, { strict: false }).message, /the adapters "x" and "y"/);
  });

  it('is refused where nothing of it has a place, strict or not', () => {
    const foreign = renamed(QV_SHAPES, (name) => name.replace('model.layers', 'transformer.h'));
    assert.match(refusal({ r: 4 }, foreign, { strict: false }).message, /no tensor of it has a place/);
    assert.equal(refusal({ r: 4 }, foreign).report.tensors.unused.count, 8);
  });

  it('is taken as far as it goes where the caller said so', () => {
    const shapes = { ...without(QV_SHAPES, `${Q0}.lora_B.weight`), 'model.norm.weight': [64] };
    const { modules, report } = map(QV, shapes, { strict: false });
    assert.equal(modules.length, 3);
    assert.deepEqual([report.strict, report.tensors.missing.count, report.tensors.unused.count], [false, 1, 2]);
  });

  it('tells no more of a hostile file than fits in an answer', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`${'x'.repeat(1000)}${i}`, [1]]));
    const { message, report } = refusal(QV, { ...QV_SHAPES, ...many });
    assert.equal(report.tensors.unused.count, 5000);
    assert.ok(message.length < 500 && JSON.stringify(report).length < 50_000);
  });
});

/** Present where the reference vectors lie beside the repository. */
const GOLDENS = fileURLToPath(new URL('../../../../../../shared/goldens', import.meta.url));
const FAMILIES = ['llama', 'llama3_rope', 'llama_linear_rope_bias', 'mistral', 'qwen2', 'qwen3'];

describe('the adapters that PEFT saved', () => {
  for (const { family, name } of goldenAdapters()) {
    it(`${family}/${name} has a place for every tensor and a tensor for every place`, () => {
      const folder = join(GOLDENS, 'adapters', family, name);
      const config = LoraConfig.parse(readFileSync(join(folder, 'adapter_config.json')), name);
      const json = readFileSync(join(GOLDENS, 'models', family, 'config.json'), 'utf8');
      const tensors = openAdapterTensors(folder);
      try {
        const model = fakeModel(shapeOf(JSON.parse(json) as Fields));
        const weights = config.mapWeightsForModel(tensors, model);
        assertComplete(weights, tensors.names.length);
        assert.equal(weights.report.totals.bytes, tensors.byteLength);
        assert.deepEqual(weights.report.ignoredConfigFields, []);
      } finally {
        tensors.dispose();
      }
      assert.deepEqual(liveHandles(), {});
    });
  }

  it('maps a model of another shape nowhere', () => {
    const wide = fakeModel({ ...TINY, hidden: 96 });
    const config = LoraConfig.parse(configBytes(QV), 'id');
    assert.throws(() => config.mapWeightsForModel(fakeTensors(QV_SHAPES), wide), /needed is \[4, 96\]/);
  });
});

function goldenAdapters(): { family: string; name: string }[] {
  if (!existsSync(GOLDENS)) return [];
  return FAMILIES.flatMap((family) =>
    readdirSync(join(GOLDENS, 'adapters', family))
      .filter((name) => !name.startsWith('medusa'))
      .map((name) => ({ family, name })),
  );
}

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { GgmlBackend } from '../backend/ggml/ggml-backend.ts';
import { liveHandles } from '../base/handles.ts';
import { makeTinyModel, writeTinyModel, type TinyTensor } from '../testing/tiny-model.ts';
import { BaseModel } from './base-model.ts';

describe('BaseModel', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lorax-base-model-'));
  let backend: GgmlBackend;
  beforeEach(() => void (backend = new GgmlBackend({ path: undefined, threads: 1, precision: 'high' })));
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
    assert.deepEqual(liveHandles(), {});
  });

  const load = (onProgress: (loaded: number, total: number) => void = () => undefined): Promise<BaseModel> =>
    BaseModel.load(backend, { modelId: 'some/model', folder, dtype: undefined, onProgress });

  function write(change: (weights: Map<string, TinyTensor>) => void, config: Record<string, unknown> = {}): void {
    const { weights, config: whole } = makeTinyModel(config);
    const changed = new Map(weights);
    change(changed);
    writeTinyModel(folder, { config: whole, weights: changed });
  }

  async function refusal(): Promise<string> {
    const before = liveHandles();
    const error: unknown = await load().then(
      () => assert.fail('the model was loaded'),
      (thrown: unknown) => thrown,
    );
    assert.deepEqual(before['mapping'], liveHandles()['mapping']);
    backend.dispose();
    return (error as Error).message;
  }

  it('offers every projection and the embedding to adapters, and tells how far it is loaded', async () => {
    write(() => undefined);
    const told: [number, number][] = [];
    const model = await load((loaded, total) => told.push([loaded, total]));
    const inLayer = ['q', 'k', 'v', 'o'].map((name) => `self_attn.${name}_proj`);
    const inMlp = ['gate', 'up', 'down'].map((name) => `mlp.${name}_proj`);
    const layers = [0, 1].flatMap((layer) => [...inLayer, ...inMlp].map((name) => `model.layers.${layer}.${name}`));
    assert.deepEqual([...model.places.keys()], ['model.embed_tokens', ...layers, 'lm_head']);
    assert.equal(model.dtype, 'float32');
    assert.equal(model.description.architecture, 'LlamaForCausalLM');
    assert.ok(told.every(([loaded], i) => i === 0 || loaded > told[i - 1]![0]));
    assert.deepEqual(told.at(-1), [told[0]![1], told[0]![1]]);
    backend.dispose();
    model.dispose();
  });

  it('offers a tied output layer as a place of its own', async () => {
    write(() => undefined, { tie_word_embeddings: true });
    const model = await load();
    const [embedding, head] = ['model.embed_tokens', 'lm_head'].map((path) => model.places.get(path));
    assert.equal(head?.kind, 'linear');
    assert.equal(head.weight, embedding?.weight);
    backend.dispose();
    model.dispose();
  });

  it('names a tensor that is missing', async () => {
    write((weights) => weights.delete('model.layers.1.mlp.up_proj.weight'));
    assert.equal(
      await refusal(),
      'model `some/model` cannot be served: tensor `model.layers.1.mlp.up_proj.weight` is missing',
    );
  });

  it('names a bias that the config promises', async () => {
    write((weights) => weights.delete('model.layers.0.self_attn.o_proj.bias'), { attention_bias: true });
    assert.match(await refusal(), /tensor `model\.layers\.0\.self_attn\.o_proj\.bias` is missing$/);
  });

  it('names both shapes of a tensor that does not fit', async () => {
    write((weights) => weights.set('model.norm.weight', { shape: [31], values: new Float32Array(31) }));
    assert.match(await refusal(), /tensor `model\.norm\.weight` is \[31\], the config asks for \[32\]$/);
    backend = new GgmlBackend({ path: undefined, threads: 1, precision: 'high' });
    write((weights) => weights.set('lm_head.weight', { shape: [32, 264], values: new Float32Array(32 * 264) }));
    assert.match(await refusal(), /tensor `lm_head\.weight` is \[32, 264\], the config asks for \[264, 32\]$/);
  });
});

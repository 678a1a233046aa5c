import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, it } from 'node:test';
import { liveHandles } from '../base/handles.ts';
import { Setting } from '../testing/setting.ts';
import { makeTinyModel, writeTinyModel } from '../testing/tiny-model.ts';
import { sketchModel } from './model-sketch.ts';

afterEach(() => assert.deepEqual(liveHandles(), {}));

for (const tied of [false, true]) {
  it(`has the places that the ${tied ? 'tied ' : ''}model will have, without its weights`, async () => {
    const setting = await Setting.open({
      model: makeTinyModel({ attention_bias: true, tie_word_embeddings: tied }),
      stored: 'bfloat16',
    });
    const sketch = await sketchModel('tiny', join(setting.root, 'model'), undefined);
    assert.deepEqual(
      [...sketch.places].map(([path, { kind, weight }]) => [path, kind, weight]),
      [...setting.model.places].map(([path, { kind, weight }]) => [
        ...[path, kind],
        { name: weight.name, shape: weight.shape },
      ]),
    );
    assert.deepEqual([sketch.dtype, sketch.id], ['bfloat16', 'tiny']);
    setting.dispose();
  });
}

it('refuses what could not be loaded, by name', async () => {
  const setting = await Setting.open();
  const folder = join(setting.root, 'model');
  const { config, weights } = makeTinyModel();
  writeTinyModel(folder, { config, weights: new Map([...weights].filter(([name]) => name !== 'lm_head.weight')) });
  await assert.rejects(sketchModel('tiny', folder, undefined), { code: 'MODEL_INVALID', message: /`lm_head\.weight`/ });
  setting.dispose();
});

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { GgmlWeight } from '../backend/ggml/weights.ts';
import { liveHandles } from '../base/handles.ts';
import { Setting } from '../testing/setting.ts';
import { makeTinyModel } from '../testing/tiny-model.ts';
import { WatchedBackend } from '../testing/watched-backend.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import { estimateModelMemory } from './memory-estimate.ts';

const LIMITS = {
  maxInputLength: undefined,
  maxTotalTokens: 64,
  maxBatchTotalTokens: undefined,
  maxBatchSize: 4,
  matmulPrecision: 'high',
} as const;
const ALL_LINEAR = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

describe('the memory estimate', () => {
  for (const [stored, dtype] of [
    ['float32', 'float32'],
    ['bfloat16', undefined],
    ['bfloat16', 'float16'],
  ] as const satisfies readonly (readonly [Dtype, Dtype | undefined])[]) {
    it(`is what ${stored} weights take, held ${dtype === undefined ? 'as they are' : `as ${dtype}`}`, async () => {
      const setting = await Setting.open({
        model: makeTinyModel({ attention_bias: true }),
        ...{ stored, dtype, cellCount: 64, wrap: (backend) => new WatchedBackend(backend) },
      });
      const estimate = await estimateModelMemory('tiny', join(setting.root, 'model'), dtype, LIMITS);
      const weights = (setting.backend as WatchedBackend).weights as GgmlWeight[];
      const adapter = await setting.loadAdapter({ rank: 16, targets: ALL_LINEAR });
      assert.deepEqual(estimate, {
        ...{ modelId: 'tiny', modelType: 'llama', dtype: dtype ?? stored, maxTotalTokens: 64 },
        parameters: [...setting.tiny.weights.values()].reduce((sum, { values }) => sum + values.length, 0),
        weightBytes: weights.reduce((sum, { byteLength }) => sum + byteLength, 0),
        kvBytesPerToken: setting.kv.store.byteLength / 64,
        kvBytes: setting.kv.store.byteLength,
        adapterBytes: adapter.slot.byteLength,
        totalBytes: estimate.weightBytes + setting.kv.store.byteLength,
      });
      setting.dispose();
      assert.deepEqual(liveHandles(), {});
    });
  }
});

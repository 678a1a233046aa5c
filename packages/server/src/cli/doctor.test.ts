import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryFinding } from './doctor.ts';

const ESTIMATE = {
  modelId: 'some/model',
  modelType: 'llama',
  parameters: 7_600_000,
  dtype: 'bfloat16',
  weightBytes: 15 * 1024 ** 2,
  kvBytesPerToken: 4096,
  kvBytes: 2 * 1024 ** 2,
  adapterBytes: 1024 ** 2,
  totalBytes: 18 * 1024 ** 2,
  maxTotalTokens: 512,
};

test('a model that fits is told part by part', () => {
  const { ok, rows } = memoryFinding(ESTIMATE, 20 * 1024 ** 2);
  assert.equal(ok, true);
  assert.deepEqual(rows, [
    ['model', 'some/model (llama), 7.6 million parameters'],
    ['weights', '15.0 MiB as bfloat16'],
    ['KV cache', '2.0 MiB for one sequence of 512 tokens, 4.0 KiB each'],
    ['adapters', '1.0 MiB for each of rank 16 on every linear layer'],
    ['total', '18.0 MiB of 20.0 MiB available: fits'],
  ]);
});

test('a model that does not fit is a finding that fails', () => {
  const { ok, rows } = memoryFinding(ESTIMATE, 18 * 1024 ** 2 - 1);
  assert.equal(ok, false);
  assert.match(rows.at(-1)?.[1] ?? '', /does not fit$/);
});

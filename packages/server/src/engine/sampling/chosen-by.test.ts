import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chosenBy } from './chosen-by.ts';
import { GREEDY, type SamplingParams } from './params.ts';

const DRAWN: SamplingParams = { ...GREEDY, doSample: true, temperature: 0.7, topK: 40, topP: 0.9 };

const EFFECTS: readonly Partial<SamplingParams>[] = [
  { repetitionPenalty: 1.1 },
  { frequencyPenalty: -0.1 },
  { presencePenalty: 0.1 },
  { watermark: true },
];

test('what has no effect but the arg-max is left to the device', () => {
  assert.equal(chosenBy(GREEDY, 0), 'arg-max');
  assert.equal(chosenBy({ ...DRAWN, typicalP: 0.5, temperature: 0 }, 0), 'arg-max');
});

test('a draw by temperature, top-k and top-p is left to the device', () => {
  const alone: Partial<SamplingParams>[] = [{ doSample: true }, { temperature: 0.5 }, { topK: 1 }, { topP: 0.5 }];
  for (const params of alone) assert.equal(chosenBy({ ...GREEDY, ...params }, 0), 'draw');
  assert.equal(chosenBy(DRAWN, 0), 'draw');
});

test('anything else is for the sampler', () => {
  for (const params of [GREEDY, DRAWN]) {
    assert.equal(chosenBy(params, 1), 'sampler');
    for (const effect of EFFECTS) assert.equal(chosenBy({ ...params, ...effect }, 0), 'sampler');
  }
  assert.equal(chosenBy({ ...DRAWN, typicalP: 0.9 }, 0), 'sampler');
});

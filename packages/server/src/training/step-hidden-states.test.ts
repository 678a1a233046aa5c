import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { oneSlot } from '../backend/step.ts';
import { liveHandles } from '../base/handles.ts';
import { relativeError } from '../testing/closeness.ts';
import { Random } from '../testing/random.ts';
import { Setting, type AdapterInPlace } from '../testing/setting.ts';
import { StepHiddenStates } from './step-hidden-states.ts';

const { signal } = new AbortController();

describe('hidden states from steps', () => {
  let setting: Setting;
  let adapter: AdapterInPlace;
  before(async () => {
    setting = await Setting.open();
    adapter = await setting.loadAdapter({ rank: 4, targets: ['q_proj', 'down_proj'] });
  });
  after(() => {
    setting.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  const statesOf = (of: AdapterInPlace | undefined, backend: Pick<Setting['backend'], 'runStep'> = setting.backend) =>
    new StepHiddenStates({
      ...{ backend, forward: setting.model.decoder, kv: setting.kv.store },
      ...{ adapters: oneSlot(of?.slot), hiddenSize: setting.tiny.config.hidden_size },
    });

  /** The output layer of the tiny model, in float64. */
  function logits(hidden: Float32Array): number[] {
    const { shape, values } = setting.tiny.weights.get('lm_head.weight')!;
    const [vocab, width] = [shape[0]!, shape[1]!];
    return Array.from({ length: vocab }, (_, token) =>
      hidden.reduce((sum, value, i) => sum + value * values[token * width + i]!, 0),
    );
  }

  for (const what of ['the bare model', 'an adapter']) {
    it(`lead to the logits of ${what}, over more tokens than one step takes`, async () => {
      const used = what === 'an adapter' ? adapter : undefined;
      const tokens = new Random(2).integers(300, 256);
      const hidden = await statesOf(used).of(tokens, signal);
      const expected = await setting.logitsOf(tokens, used);
      for (const row of [0, 1, 255, 256, 299]) {
        const width = setting.tiny.config.hidden_size;
        const error = relativeError(expected[row]!, logits(hidden.subarray(row * width, (row + 1) * width)));
        assert.ok(error < 1e-4, `row ${row} is off by ${error}`);
      }
    });
  }

  it('are the same bits whatever was computed before', async () => {
    const states = statesOf(undefined);
    const [tokens, others] = [new Random(3).integers(40, 256), new Random(4).integers(90, 256)];
    const first = await states.of(tokens, signal);
    await states.of(others, signal);
    assert.deepEqual(await states.of(tokens, signal), first);
  });

  it('end when the signal does, between two steps', async () => {
    const stop = new AbortController();
    let stepCount = 0;
    const backend: Pick<Setting['backend'], 'runStep'> = {
      runStep: (...args) => {
        stepCount++;
        stop.abort(new Error('enough'));
        return setting.backend.runStep(...args);
      },
    };
    const tokens = new Random(5).integers(300, 256);
    await assert.rejects(statesOf(undefined, backend).of(tokens, stop.signal), { message: 'enough' });
    assert.equal(stepCount, 1);
  });
});

/** Merged adapters as requests meet them: what is resident for them, who may use them, and what they answer. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AdapterReference, MergedReference, MergeStrategy } from '../../base/adapter-reference.ts';
import { LoraxError } from '../../base/errors.ts';
import { RequestSetting } from '../../testing/request-setting.ts';
import type { TinyAdapterOptions } from '../../testing/tiny-adapter.ts';

const OPTIONS: TinyAdapterOptions = { rank: 4, targets: ['q_proj', 'v_proj'] };
const never: AbortSignal = new AbortController().signal;

function merged(
  strategy: MergeStrategy,
  ...members: readonly (readonly [AdapterReference, number])[]
): MergedReference {
  const isPruned = strategy.includes('ties') || strategy.includes('dare');
  return {
    members: members.map(([reference, weight]) => ({ reference, weight })),
    recipe: { strategy, density: isPruned ? 0.5 : undefined, majoritySign: 'total' },
  };
}

describe('cat', () => {
  it('is every member on the row with its weight, and no copy of them', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter({ rank: 2, targets: ['o_proj'] }, 2)];
    const choice = merged('cat', [a, 0.5], [b, -2]);
    const lease = await setting.adapters.acquire(choice, never);
    const alone = await Promise.all([a, b].map((each) => setting.adapters.acquire(each, never)));
    assert.deepEqual(
      lease.slots.map(({ weight }) => weight),
      [0.5, -2],
    );
    assert.deepEqual(
      lease.slots.map(({ slot }) => slot),
      alone.map(({ slots }) => slots[0]!.slot),
    );
    assert.ok(alone.every(({ generation }) => generation !== lease.generation));
    assert.equal(setting.backend.loadCount, 2);
    for (const each of [lease, ...alone]) each.release();
  });

  it('one content under two ids enters a row once, with both weights', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const a = setting.adapter(OPTIONS, 1);
    const lease = await setting.adapters.acquire(merged('cat', [a, 0.5], [{ id: a.id, source: 'hub' }, 0.25]), never);
    assert.deepEqual(
      lease.slots.map(({ weight }) => weight),
      [0.75],
    );
    lease.release();
  });

  it('two that need each half of the places are both answered', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 2 });
    const [a, b, c, d] = [1, 2, 3, 4].map((seed) => setting.adapter(OPTIONS, seed));
    const answers = await Promise.all(
      [merged('cat', [a!, 1], [b!, 1]), merged('cat', [c!, 1], [d!, 1]), merged('cat', [a!, 1], [c!, 1])].map(
        (adapter) => setting.answer({ adapter }),
      ),
    );
    for (const { error } of answers) assert.equal(error, undefined);
    const tooMany = merged('cat', [a!, 1], [b!, 1], [c!, 1]);
    assert.ok((await setting.answer({ adapter: tooMany })).error instanceof LoraxError);
  });
});

describe('a merge of tensors', () => {
  it('is one adapter, cached by its content in whichever order its members stand', async (t) => {
    const setting = await RequestSetting.openFor(t, { hostCacheBytes: 1 << 30 });
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    const first = await setting.adapters.acquire(merged('linear', [a, 0.5], [b, 2]), never);
    const again = await setting.adapters.acquire(merged('linear', [b, 2], [a, 0.5]), never);
    assert.equal(again.generation, first.generation);
    assert.equal(setting.backend.loadCount, 1);
    const others = [merged('linear', [a, 2], [b, 0.5]), merged('dare_linear', [a, 0.5], [b, 2])];
    for (const other of others) {
      const lease = await setting.adapters.acquire(other, never);
      assert.notEqual(lease.generation, first.generation);
      lease.release();
    }
    for (const lease of [first, again]) lease.release();
  });

  it('is the same again after it left memory, where it draws at random too', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    const adapter = merged('dare_ties', [a, 1], [b, 1]);
    const before = await setting.answer({ adapter, maxNewTokens: 12 });
    await setting.answer({ adapter: a });
    const after = await setting.answer({ adapter, maxNewTokens: 12 });
    assert.equal(before.error, undefined);
    assert.deepEqual(after.tokens, before.tokens);
    assert.equal(setting.backend.loadCount, 3);
  });

  it('of adapters that do not fit is a 422 that says why, and costs nobody his place', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const [a, wider] = [setting.adapter(OPTIONS, 1), setting.adapter({ ...OPTIONS, rank: 8 }, 2)];
    (await setting.adapters.acquire(a, never)).release();
    for (let i = 0; i < 3; i++) {
      await assert.rejects(setting.adapters.acquire(merged('linear', [a, 1], [wider, 1]), never), (error: unknown) => {
        return error instanceof LoraxError && error.code === 'VALIDATION' && /ranks/.test(error.message);
      });
    }
    assert.equal(setting.evictionCount, 0);
  });
});

it('a merge is for those who may use every member', async (t) => {
  const setting = await RequestSetting.openFor(t);
  const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
  for (const strategy of ['cat', 'linear'] as const) {
    (await setting.adapters.acquire(merged(strategy, [a, 1], [b, 1]), never)).release();
  }
  setting.beforeCheck = ({ id, apiToken }) => {
    if (id === b.id && apiToken !== 'good') throw new LoraxError('ADAPTER_FORBIDDEN', { adapterId: id });
  };
  for (const strategy of ['cat', 'linear'] as const) {
    const bare = setting.adapters.acquire(merged(strategy, [a, 1], [b, 1]), never);
    await assert.rejects(bare, { code: 'ADAPTER_FORBIDDEN', params: { adapterId: b.id } });
    (await setting.adapters.acquire(merged(strategy, [a, 1], [{ ...b, apiToken: 'good' }, 1]), never)).release();
  }
});

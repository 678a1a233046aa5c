import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LoraxError } from '../../base/errors.ts';
import { Residency, type ResidencyLease } from './residency.ts';
import type { ResidentAdapter, Want } from './residency-table.ts';

const never: AbortSignal = new AbortController().signal;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A device tier whose loads end when a test says so. */
class Setting {
  nowMs = 0;
  readonly evicted: string[] = [];
  readonly loaded: string[] = [];
  readonly loads: { readonly generation: string; end(error?: Error): void }[] = [];
  readonly residency: Residency;
  isManual = false;

  constructor(limits: { readonly budgetBytes?: number; readonly maxCount?: number } = {}) {
    this.residency = new Residency({
      ...{ budgetBytes: limits.budgetBytes ?? 100, maxCount: limits.maxCount ?? 100, now: () => this.nowMs },
      onEvict: ({ generation }) => this.evicted.push(generation),
    });
  }

  /** `actualBytes` where the estimate was too high. */
  want(generation: string, deviceBytes = 10, actualBytes = deviceBytes): Want {
    const load = async (): Promise<ResidentAdapter> => {
      this.loaded.push(generation);
      if (this.isManual) {
        await new Promise<void>((resolve, reject) => {
          this.loads.push({ generation, end: (error) => (error ? reject(error) : resolve()) });
        });
      }
      return {
        generation,
        slot: { byteLength: actualBytes, weights: new Map() },
        batchTypes: ['lora'],
        heads: undefined,
        tokenizer: undefined,
        report: undefined,
      };
    };
    return { generation, adapterId: generation, deviceBytes, load };
  }

  acquire(...wants: readonly Want[]): Promise<ResidencyLease> {
    return this.residency.acquire(wants, never);
  }

  /** Used once, and idle since. */
  async use(...wants: readonly Want[]): Promise<void> {
    for (const want of wants) (await this.acquire(want)).release();
  }

  get residents(): string[] {
    return this.residency.residents.map(({ generation }) => generation).toSorted();
  }
}

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  const settle = (): void => void (pending = false);
  void promise.then(settle, settle);
  for (let i = 0; i < 5; i++) await turn();
  return pending;
}

describe('room on the device', () => {
  it('is reserved before a load and corrected after it', async () => {
    const setting = new Setting();
    setting.isManual = true;
    const leasing = setting.acquire(setting.want('a', 60, 40));
    assert.equal(setting.residency.usedBytes, 60);
    setting.loads[0]!.end();
    const lease = await leasing;
    assert.equal(setting.residency.usedBytes, 40);
    lease.release();
    await setting.residency.dispose();
    assert.equal(setting.residency.usedBytes, 0);
  });

  it('comes back when a load fails, and those who wait get it', async () => {
    const setting = new Setting();
    setting.isManual = true;
    const failing = setting.acquire(setting.want('a', 80));
    const waiting = setting.acquire(setting.want('b', 50));
    assert.ok(await isPending(waiting));
    setting.loads[0]!.end(new Error('broken'));
    await assert.rejects(failing, /broken/);
    assert.equal(setting.residency.usedBytes, 50);
    setting.loads[1]!.end();
    (await waiting).release();
  });

  it('is made by as few as are needed, idle and not pinned', async () => {
    const setting = new Setting();
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => setting.want(name, 25));
    await setting.use(a!, b!, c!, d!);
    setting.residency.pin('a');
    const held = await setting.acquire(b!);
    await setting.use(setting.want('e', 30));
    assert.deepEqual(setting.evicted, ['c', 'd']);
    held.release();
  });

  it('nobody is evicted for one who does not come in anyway', async () => {
    const setting = new Setting();
    await setting.use(setting.want('a', 30));
    const held = await setting.acquire(setting.want('b', 40));
    const waiting = setting.acquire(setting.want('c', 80));
    assert.ok(await isPending(waiting));
    assert.deepEqual(setting.evicted, []);
    held.release();
    (await waiting).release();
    assert.deepEqual(setting.residents, ['c']);
  });

  it('is refused to what is larger than all of it, or than what the pinned ones leave', async () => {
    const setting = new Setting({ maxCount: 2 });
    const tooLarge = setting.acquire(setting.want('a', 101));
    await assert.rejects(tooLarge, {
      ...{ code: 'ADAPTER_TOO_LARGE', params: { adapterId: 'a', neededBytes: 101, budgetBytes: 100 } },
    });
    const three = ['a', 'b', 'c'].map((name) => setting.want(name, 1));
    await assert.rejects(setting.acquire(...three), { code: 'VALIDATION' });
    await setting.use(setting.want('p', 30));
    setting.residency.pin('p');
    await assert.rejects(setting.acquire(setting.want('a', 80)), { code: 'OUT_OF_MEMORY' });
    await assert.rejects(setting.acquire(...three.slice(1)), { code: 'OUT_OF_MEMORY' });
    setting.residency.unpin('p');
    await setting.use(setting.want('a', 80));
  });

  it('a burst of adapters that are used once does not push out those that everyone uses', async () => {
    const setting = new Setting({ budgetBytes: 160 });
    const popular = Array.from({ length: 10 }, (_, i) => setting.want(`popular-${i}`));
    await setting.use(...popular, ...popular);
    for (let i = 0; i < 1000; i++) await setting.use(setting.want(`once-${i}`));
    assert.ok(popular.every(({ generation }) => setting.residents.includes(generation)));
    assert.equal(setting.loaded.length, 1010);
  });
});

describe('waiting', () => {
  it('small ones pass a large one for a while, and then it gets its turn before them', async () => {
    const setting = new Setting();
    const popular = setting.want('popular', 40);
    let held = await setting.acquire(popular);
    const large = setting.acquire(setting.want('large', 90));
    await setting.use(setting.want('small', 50));
    setting.nowMs = 2000;
    const [next, small] = [setting.acquire(popular), setting.acquire(setting.want('other', 5))];
    assert.ok(await isPending(Promise.any([large, next, small])));
    held.release();
    held = await large;
    assert.ok(await isPending(next));
    (await small).release();
    held.release();
    (await next).release();
  });

  it('those whose adapters are not in its way go on being served', async () => {
    const setting = new Setting();
    const [a, b] = [setting.want('a', 60), setting.want('b', 30)];
    await setting.use(b, b);
    const held = await setting.acquire(a);
    const large = setting.acquire(setting.want('large', 70));
    setting.nowMs = 2000;
    assert.ok(await isPending(large));
    await setting.use(setting.want('b', 30));
    held.release();
    (await large).release();
    assert.deepEqual(setting.residents, ['b', 'large']);
  });

  it('several for one request come together, so that two requests never hold half each', async () => {
    const setting = new Setting({ maxCount: 3 });
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => setting.want(name));
    const first = await setting.acquire(a!, b!);
    const second = setting.acquire(c!, d!);
    assert.ok(await isPending(second));
    assert.deepEqual(setting.loaded, ['a', 'b']);
    await setting.use(setting.want('e'));
    first.release();
    assert.deepEqual(
      (await second).adapters.map(({ generation }) => generation),
      ['c', 'd'],
    );
    (await second).release();
  });

  it('ends when the tier is closed, which lets running requests end', async () => {
    const setting = new Setting();
    const held = await setting.acquire(setting.want('a', 90));
    const refused = assert.rejects(setting.acquire(setting.want('b', 90)), { code: 'SHUTTING_DOWN' });
    const closed = setting.residency.dispose();
    await refused;
    await assert.rejects(setting.acquire(setting.want('a', 90)), { code: 'SHUTTING_DOWN' });
    assert.ok(await isPending(closed));
    held.release();
    await closed;
    assert.equal(setting.residency.usedBytes, 0);
  });

  it('for a load ends when the tier is closed', async () => {
    const setting = new Setting();
    setting.isManual = true;
    const refused = assert.rejects(setting.acquire(setting.want('a')), { code: 'SHUTTING_DOWN' });
    const closed = setting.residency.dispose();
    setting.loads[0]!.end();
    await Promise.all([refused, closed]);
    assert.deepEqual(setting.evicted, ['a']);
  });
});

describe('draining', () => {
  it('lets running requests end while new ones wait, then frees the adapter', async () => {
    const setting = new Setting();
    const a = setting.want('a', 30);
    const running = await setting.acquire(a);
    const order: string[] = [];
    const drained = setting.residency.drain('a', () => order.push('gone'), never);
    const next = setting.acquire(a);
    assert.ok(await isPending(Promise.any([drained, next])));
    assert.ok(setting.residency.isDraining('a'));
    running.release();
    assert.equal(await drained, 30);
    void next.then(() => order.push('next'));
    (await next).release();
    assert.deepEqual(order, ['gone', 'next']);
    assert.deepEqual(setting.loaded, ['a', 'a']);
  });

  it('waits for a load, and may be given up', async () => {
    const setting = new Setting();
    setting.isManual = true;
    const loading = setting.acquire(setting.want('a'));
    const leaving = new AbortController();
    const givenUp = setting.residency.drain('a', () => assert.fail('it stays'), leaving.signal);
    leaving.abort(new Error('gone'));
    await assert.rejects(givenUp, /gone/);
    setting.loads[0]!.end();
    (await loading).release();
    assert.deepEqual(setting.residents, ['a']);
    assert.equal(await setting.residency.drain('a', () => undefined, never), 10);
    assert.equal(await setting.residency.drain('a', () => undefined, never), 0);
  });
});

it('keeps its promises whatever is done', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const action = fc.oneof(
    { weight: 4, arbitrary: fc.record({ acquire: fc.uniqueArray(fc.nat(5), { minLength: 1, maxLength: 3 }) }) },
    { weight: 3, arbitrary: fc.record({ release: fc.nat(20) }) },
    { weight: 3, arbitrary: fc.record({ load: fc.nat(20), fails: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ abort: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ drain: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ pass: fc.nat(3000) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
      const setting = new Setting({ budgetBytes: 100, maxCount: 4 });
      setting.isManual = true;
      const held: ResidencyLease[] = [];
      const asked: { readonly controller: AbortController; readonly settled: Promise<void> }[] = [];
      const drains: Promise<number>[] = [];
      const check = (): void => {
        setting.residency.checkIntegrity();
        assert.ok(setting.residency.usedBytes <= 100);
        for (const { adapters } of held) {
          for (const adapter of adapters)
            assert.ok(setting.residency.residents.includes(adapter), 'leased, so resident');
        }
      };
      for (const step of actions) {
        if ('acquire' in step) {
          const controller = new AbortController();
          const wants = step.acquire.map((i) => setting.want(names[i]!, 10 + 8 * i, 8 + 8 * i));
          const settled = setting.residency.acquire(wants, controller.signal).then(
            (lease) => void held.push(lease),
            (error: unknown) =>
              assert.ok(controller.signal.aborted || /broken|that adapters may take/.test(String(error))),
          );
          asked.push({ controller, settled });
        } else if ('release' in step) held.splice(step.release % Math.max(1, held.length), 1)[0]?.release();
        else if ('load' in step) {
          const [load] = setting.loads.splice(step.load % Math.max(1, setting.loads.length), 1);
          load?.end(step.fails ? new LoraxError('GENERATION', { reason: 'broken' }) : undefined);
        } else if ('abort' in step) {
          asked[step.abort % Math.max(1, asked.length)]?.controller.abort(new Error('gone'));
        } else if ('drain' in step) drains.push(setting.residency.drain(names[step.drain]!, () => undefined, never));
        else setting.nowMs += step.pass;
        await turn();
        check();
      }
      const all = Promise.all([...asked.map(({ settled }) => settled), ...drains]);
      for (let i = 0; (await isPending(all)) && i < 200; i++) {
        for (const load of setting.loads.splice(0)) load.end();
        for (const lease of held.splice(0)) lease.release();
        check();
      }
      assert.ok(!(await isPending(all)), 'everybody got an answer');
      await all;
      for (const lease of held.splice(0)) lease.release();
      // Loads that everybody left go on.
      for (const load of setting.loads.splice(0)) load.end();
      await setting.residency.dispose();
      assert.equal(setting.residency.usedBytes, 0);
      assert.deepEqual(setting.residents, []);
    }),
    { seed: 1, numRuns: 150 },
  );
});

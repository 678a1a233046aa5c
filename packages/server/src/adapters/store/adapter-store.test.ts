import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import { LoraxError } from '../../base/errors.ts';
import { finishReason, readAnswer, RequestSetting } from '../../testing/request-setting.ts';
import { makeTinyAdapter, writeTinyAdapter, type TinyAdapterOptions } from '../../testing/tiny-adapter.ts';
import { until } from '../../testing/until.ts';
import { Gate } from '../../testing/watched-backend.ts';
import type { AdapterReference } from '../../base/adapter-reference.ts';
import type { AdapterLease } from './adapter-lease.ts';

const OPTIONS: TinyAdapterOptions = { rank: 4, targets: ['q_proj', 'v_proj'] };
const never: AbortSignal = new AbortController().signal;

function residentIds({ adapters }: RequestSetting): string[] {
  const resident = adapters.statuses().filter(({ state }) => state === 'resident');
  return resident.map(({ id }) => id).toSorted();
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Whether it stays open for a while; what can settle has settled by then, as a rule. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  void promise.then(
    () => (pending = false),
    () => (pending = false),
  );
  for (let i = 0; i < 20 && pending; i++) await pause(1);
  return pending;
}

describe('one adapter', () => {
  it('is resident once, whoever asks at the same time and by whatever id', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS);
    const copy: AdapterReference = { id: `copy-of/${reference.id}`, source: 'hub' };
    cpSync(join(setting.engine.root, 'adapters', reference.id), join(setting.engine.root, 'adapters', 'twin'), {
      recursive: true,
    });
    const twin: AdapterReference = { id: 'twin', source: 'local' };
    const leases = await Promise.all(
      [reference, copy, twin, reference].map((of) => setting.adapters.acquire(of, never)),
    );
    assert.equal(new Set(leases.map(({ slots }) => slots[0]!.slot)).size, 1);
    assert.equal(new Set(leases.map(({ generation }) => generation)).size, 1);
    assert.match(leases[0]!.generation, /^[0-9a-f]{16}$/);
    assert.equal(setting.backend.loadCount, 1);
    assert.equal(setting.loadedMs.length, 1);
    assert.equal(setting.adapters.residents.length, 1);
    for (const lease of leases) lease.release();
  });

  it('stays when its leases end, and is not loaded again', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS);
    for (let i = 0; i < 3; i++) (await setting.adapters.acquire(reference, never)).release();
    assert.deepEqual([setting.backend.loadCount, setting.backend.unloadCount], [1, 0]);
  });

  it('may be released twice without harm to the others', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const reference = setting.adapter(OPTIONS);
    const [first, second] = [
      await setting.adapters.acquire(reference, never),
      await setting.adapters.acquire(reference, never),
    ];
    first.release();
    first.release();
    const waiting = setting.adapters.acquire(setting.adapter(OPTIONS, 2), never);
    assert.ok(await isPending(waiting));
    second.release();
    (await waiting).release();
  });

  it('is another generation once its files change, while running requests keep theirs', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter({ ...OPTIONS, deviation: 1 });
    const folder = join(setting.engine.root, 'adapters', reference.id);
    const before = await setting.answer({ adapter: reference, maxNewTokens: 10 });
    const gate = new Gate();
    setting.backend.beforeStep = ([segment]) => (segment?.position === 14 ? gate.pass() : undefined);
    const running = await setting.generate({ adapter: reference, maxNewTokens: 10 });
    await gate.reached;
    writeTinyAdapter(folder, makeTinyAdapter(setting.engine.tiny, { ...OPTIONS, deviation: 1 }, 99));
    const next = setting.generate({ adapter: reference, maxNewTokens: 10 });
    await until(() => setting.backend.loadCount === 2, 'the change was seen');
    gate.open();
    const [kept, changed] = [await readAnswer(running), await readAnswer(await next)];
    assert.notEqual((await next).adapterGeneration, running.adapterGeneration);
    assert.deepEqual(kept.result, before.result);
    assert.notEqual(changed.result!.text, before.result!.text);
    assert.equal(setting.adapters.residents.length, 2);
  });

  it('whose files change while they are read is read again, and refused when they do not come to rest', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS);
    const folder = join(setting.engine.root, 'adapters', reference.id);
    const { loader } = setting;
    const read = loader.read.bind(loader);
    let [readCount, changeCount] = [0, 1];
    loader.read = async (...of) => {
      const host = await read(...of);
      if (++readCount <= changeCount) {
        writeTinyAdapter(folder, makeTinyAdapter(setting.engine.tiny, OPTIONS, 90 + readCount));
      }
      return host;
    };
    const first = await setting.adapters.acquire(reference, never);
    assert.equal(readCount, 2);
    assert.equal(setting.adapters.find(reference.id)?.generation, first.generation);
    first.release();
    writeTinyAdapter(folder, makeTinyAdapter(setting.engine.tiny, OPTIONS, 80));
    changeCount = Infinity;
    await assert.rejects(
      setting.adapters.acquire(reference, never),
      (error: unknown) =>
        error instanceof LoraxError && error.code === 'ADAPTER_INVALID' && /changed/.test(error.message),
    );
    assert.equal(setting.adapters.residents.length, 1);
    changeCount = 0;
    (await setting.adapters.acquire(reference, never)).release();
  });

  it('is the same generation where its files were only touched', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS, 5);
    const first = await setting.adapters.acquire(reference, never);
    writeTinyAdapter(
      join(setting.engine.root, 'adapters', reference.id),
      makeTinyAdapter(setting.engine.tiny, OPTIONS, 5),
    );
    const second = await setting.adapters.acquire(reference, never);
    assert.equal(second.slots[0]!.slot, first.slots[0]!.slot);
    first.release();
    second.release();
  });

  it('that cannot be loaded is refused, is not read again for a while, and leaves nothing', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS);
    const folder = join(setting.engine.root, 'adapters', reference.id);
    const adapter = makeTinyAdapter(setting.engine.tiny, OPTIONS, 7);
    const tensors = new Map(adapter.tensors);
    const [name, tensor] = [...tensors][2]!;
    tensors.set(name, { ...tensor, values: tensor.values.map(() => NaN) });
    writeTinyAdapter(folder, { ...adapter, tensors });
    const attempts = await Promise.allSettled([1, 2].map(() => setting.adapters.acquire(reference, never)));
    for (const attempt of attempts) {
      assert.ok(attempt.status === 'rejected' && attempt.reason instanceof LoraxError);
      assert.match(attempt.reason.message, /not finite/);
    }
    assert.deepEqual(setting.adapters.residents, []);
    setting.nowMs = 4999;
    for (let i = 0; i < 20; i++) await assert.rejects(setting.adapters.acquire(reference, never), /not finite/);
    assert.equal(setting.failedLoads, 1);
    const { state, failure } = setting.adapters.find(reference.id)!;
    assert.equal(state, 'failed');
    assert.deepEqual([failure?.code, failure?.retryAtMs], ['FILE_INVALID', 5000]);
    setting.nowMs = 5000;
    await assert.rejects(setting.adapters.acquire(reference, never), /not finite/);
    assert.equal(setting.failedLoads, 2);
    writeTinyAdapter(folder, adapter);
    (await setting.adapters.acquire(reference, never)).release();
    assert.equal(setting.adapters.residents.length, 1);
    assert.equal(setting.adapters.find(reference.id)!.failure, undefined);
  });

  it('that is not there is refused by its id', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const missing = setting.adapters.acquire({ id: 'nobody', source: 'local' }, never);
    await assert.rejects(missing, { code: 'ADAPTER_NOT_FOUND', params: { adapterId: 'nobody', source: 'local' } });
  });
});

describe('when all places are taken', () => {
  it('the idle adapter that was used least recently makes room', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 2 });
    const [a, b, c] = [1, 2, 3].map((seed) => setting.adapter(OPTIONS, seed));
    const use = async (of: AdapterReference): Promise<void> => (await setting.adapters.acquire(of, never)).release();
    for (const of of [a!, b!, a!, c!]) await use(of);
    assert.deepEqual(residentIds(setting), [a!.id, c!.id]);
    assert.deepEqual([setting.backend.loadCount, setting.backend.unloadCount], [3, 1]);
  });

  it('leased adapters stay, and requests wait for the first release', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 2 });
    const [a, b, c] = [1, 2, 3].map((seed) => setting.adapter(OPTIONS, seed));
    const leases = [await setting.adapters.acquire(a!, never), await setting.adapters.acquire(b!, never)];
    const waiting = setting.adapters.acquire(c!, never);
    assert.ok(await isPending(waiting));
    leases[1]!.release();
    const lease = await waiting;
    assert.deepEqual(residentIds(setting), [a!.id, c!.id]);
    for (const of of [lease, leases[0]!]) of.release();
  });

  it('all who wait for one adapter get it together', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const [a, b] = [1, 2].map((seed) => setting.adapter(OPTIONS, seed));
    const first = await setting.adapters.acquire(a!, never);
    const waiting = [1, 2, 3].map(() => setting.adapters.acquire(b!, never));
    assert.ok(await isPending(Promise.any(waiting)));
    first.release();
    const leases = await Promise.all(waiting);
    assert.equal(setting.backend.loadCount, 2);
    for (const lease of leases) lease.release();
  });

  it('who waits may leave, before and while', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const [a, b, c] = [1, 2, 3].map((seed) => setting.adapter(OPTIONS, seed));
    const lease = await setting.adapters.acquire(a!, never);
    const leaving = new AbortController();
    const waiting = setting.adapters.acquire(b!, leaving.signal);
    const behind = setting.adapters.acquire(c!, never);
    assert.ok(await isPending(waiting));
    const reason = new Error('gone');
    leaving.abort(reason);
    await assert.rejects(waiting, reason);
    await assert.rejects(setting.adapters.acquire(b!, leaving.signal), reason);
    lease.release();
    (await behind).release();
    assert.equal(setting.backend.loadCount, 2);
  });

  it('who leaves as his turn comes keeps nobody from the place', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const [a, b, c] = [1, 2, 3].map((seed) => setting.adapter(OPTIONS, seed));
    const lease = await setting.adapters.acquire(a!, never);
    const leaving = new AbortController();
    const waiting = setting.adapters.acquire(b!, leaving.signal);
    assert.ok(await isPending(waiting));
    lease.release();
    leaving.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    (await setting.adapters.acquire(c!, never)).release();
    assert.deepEqual(residentIds(setting), [c!.id]);
  });

  it('who waits for a load may leave without ending it for the others', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS);
    const gate = new Gate();
    setting.backend.beforeLoad = () => gate.pass();
    const leaving = new AbortController();
    const reason = new Error('gone');
    const left = setting.adapters.acquire(reference, leaving.signal);
    const stayed = setting.adapters.acquire(reference, never);
    await gate.reached;
    leaving.abort(reason);
    await assert.rejects(left, reason);
    gate.open();
    (await stayed).release();
    assert.equal(setting.backend.loadCount, 1);
  });

  it('a failed load makes room for those who wait', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const [broken, sound] = [1, 2].map((seed) => setting.adapter(OPTIONS, seed));
    const gate = new Gate();
    setting.backend.beforeLoad = async () => {
      setting.backend.beforeLoad = () => undefined;
      await gate.pass();
      throw new LoraxError('OUT_OF_MEMORY', { what: 'tensors' });
    };
    const failing = setting.adapters.acquire(broken!, never);
    await gate.reached;
    const waiting = setting.adapters.acquire(sound!, never);
    assert.ok(await isPending(waiting));
    gate.open();
    await assert.rejects(failing, { code: 'OUT_OF_MEMORY' });
    (await waiting).release();
  });

  it('requests with more adapters than places are all answered', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 2, limits: { maxBatchSize: 4 } });
    const adapters = [1, 2, 3, 4, 5].map((seed) => setting.adapter(OPTIONS, seed));
    const answers = await Promise.all(
      [...adapters, ...adapters].map((adapter, i) => setting.answer({ adapter, maxNewTokens: 1 + (i % 4) })),
    );
    for (const answer of answers) assert.equal(finishReason(answer), 'length');
  });
});

it('any use of the store keeps its promises', async (t) => {
  const setting = await RequestSetting.openFor(t, { maxResident: 3 });
  const references = [1, 2, 3, 4, 5].map((seed) => setting.adapter({ rank: seed, targets: ['q_proj'] }, seed));
  const action = fc.oneof(
    fc.record({ acquire: fc.nat(4) }),
    fc.record({ release: fc.nat(20) }),
    fc.record({ abort: fc.nat(20) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 20 }), async (actions) => {
      const held: { readonly lease: AdapterLease; readonly wanted: number }[] = [];
      const asked: { readonly controller: AbortController; readonly settled: Promise<void> }[] = [];
      for (const step of actions) {
        if ('acquire' in step) {
          const controller = new AbortController();
          const wanted = step.acquire;
          const settled = setting.adapters.acquire(references[wanted]!, controller.signal).then(
            (lease) => void held.push({ lease, wanted }),
            (error: unknown) => assert.ok(controller.signal.aborted, String(error)),
          );
          asked.push({ controller, settled });
        } else if ('release' in step) {
          held.splice(step.release % Math.max(1, held.length), 1)[0]?.lease.release();
        } else {
          asked[step.abort % Math.max(1, asked.length)]?.controller.abort(new Error('gone'));
        }
        await turn();
        checkHeld(setting, held, references);
      }
      const all = Promise.all(asked.map(({ settled }) => settled));
      while (await isPending(all)) held.splice(0).forEach(({ lease }) => lease.release());
      checkHeld(setting, held, references);
      held.splice(0).forEach(({ lease }) => lease.release());
    }),
    { seed: 1, numRuns: 30 },
  );
});

function checkHeld(
  setting: RequestSetting,
  held: readonly { readonly lease: AdapterLease; readonly wanted: number }[],
  references: readonly AdapterReference[],
): void {
  const { residents } = setting.adapters;
  setting.adapters.checkIntegrity();
  assert.ok(residents.length <= 3);
  for (const { lease, wanted } of held) {
    const resident = residents.find(({ generation }) => generation === lease.generation);
    assert.equal(resident?.slot, lease.slots[0]!.slot, 'a leased adapter is resident');
    assert.equal(setting.adapters.find(references[wanted]!.id)!.generation, lease.generation);
  }
}

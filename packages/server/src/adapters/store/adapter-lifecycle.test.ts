/** What the operator and the callers see of adapters: states, names, pins, failures, and who may use them. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AdapterReference } from '../../base/adapter-reference.ts';
import { LoraxError } from '../../base/errors.ts';
import { RequestSetting } from '../../testing/request-setting.ts';
import { makeTinyAdapter, writeTinyAdapter, type TinyAdapterOptions } from '../../testing/tiny-adapter.ts';
import { Gate } from '../../testing/watched-backend.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { SharedTokenizer } from './shared-tokenizer.ts';

const OPTIONS: TinyAdapterOptions = { rank: 4, ranks: { v_proj: 2 }, targets: ['q_proj', 'v_proj'] };
const never: AbortSignal = new AbortController().signal;
const MANY_BYTES = 1 << 30;

function forbidden({ id }: AdapterReference): LoraxError {
  return new LoraxError('ADAPTER_FORBIDDEN', { adapterId: id });
}

describe('who may use an adapter', () => {
  it('is asked for every request, also while another caller uses it', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS);
    setting.beforeCheck = (asked) => {
      if (asked.apiToken !== 'good') throw forbidden(asked);
    };
    const running = await setting.adapters.acquire({ ...reference, apiToken: 'good' }, never);
    for (const apiToken of ['bad', '']) {
      await assert.rejects(setting.adapters.acquire({ ...reference, apiToken }, never), { code: 'ADAPTER_FORBIDDEN' });
    }
    await assert.rejects(setting.adapters.load({ reference, pin: true }, never), { code: 'ADAPTER_FORBIDDEN' });
    setting.beforeCheck = forbiddenToAll;
    await assert.rejects(setting.adapters.acquire({ ...reference, apiToken: 'good' }, never), {
      code: 'ADAPTER_FORBIDDEN',
    });
    running.release();
    assert.equal(setting.adapters.find(reference.id)?.state, 'resident');
  });

  it('that a fetch fails for one caller is not held against others', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const { id } = setting.adapter(OPTIONS);
    const reference: AdapterReference = { id: `copy-of/${id}`, source: 'hub' };
    setting.hub.beforeFetch = () => {
      throw forbidden(reference);
    };
    await assert.rejects(setting.adapters.acquire(reference, never), { code: 'ADAPTER_FORBIDDEN' });
    setting.hub.beforeFetch = () => undefined;
    await setting.use(reference);
  });
});

function forbiddenToAll(reference: AdapterReference): never {
  throw forbidden(reference);
}

describe('fetching', () => {
  it('is not repeated for a revision whose content is at hand', async (t) => {
    const setting = await RequestSetting.openFor(t, { hostCacheBytes: MANY_BYTES, maxResident: 1 });
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    const reference: AdapterReference = { id: `copy-of/${a.id}`, source: 'hub' };
    setting.hub.revision = 'r1';
    await setting.use(reference, reference, b, reference);
    assert.equal(setting.hub.fetchCount, 1);
    assert.equal(setting.backend.loadCount, 3);
    setting.hub.revision = 'r2';
    await setting.use(reference);
    assert.deepEqual([setting.hub.fetchCount, setting.backend.loadCount], [2, 3]);
  });

  it('that fails for everybody is remembered for a second', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const { id } = setting.adapter(OPTIONS);
    const reference: AdapterReference = { id: `copy-of/${id}`, source: 'hub' };
    setting.hub.beforeFetch = () => {
      throw new LoraxError('ADAPTER_UNREACHABLE', { adapterId: id, reason: 'no answer' });
    };
    for (let i = 0; i < 10; i++) await assert.rejects(setting.adapters.acquire(reference, never), /no answer/);
    assert.equal(setting.hub.fetchCount, 1);
    setting.hub.beforeFetch = () => undefined;
    setting.nowMs = 1000;
    await setting.use(reference);
    assert.equal(setting.hub.fetchCount, 2);
  });

  it('of one adapter does not keep another from being used', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const [slow, quick] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    const gate = new Gate();
    setting.hub.beforeFetch = () => gate.pass();
    const waiting = setting.adapters.acquire({ id: `copy-of/${slow.id}`, source: 'hub' }, never);
    await gate.reached;
    assert.equal(setting.adapters.find(`copy-of/${slow.id}`)?.state, 'downloading');
    await setting.use(quick);
    gate.open();
    (await waiting).release();
  });
});

describe('the states of an adapter', () => {
  it('go from tier to tier, and tell what it is', async (t) => {
    const setting = await RequestSetting.openFor(t, { hostCacheBytes: MANY_BYTES, maxResident: 1 });
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    assert.equal(setting.adapters.find(a.id), undefined);
    setting.nowMs = 1234;
    const lease = await setting.adapters.acquire(a, never);
    const resident = setting.adapters.find(a.id)!;
    assert.deepEqual(
      [resident.state, resident.runningCount, resident.lastUsedAtMs, resident.generation],
      ['resident', 1, 1234, lease.generation],
    );
    assert.deepEqual(
      [resident.ranks, resident.targets],
      [
        [2, 4],
        ['q_proj', 'v_proj'],
      ],
    );
    assert.equal(resident.report?.modules.length, 4);
    assert.ok(resident.bytes.device > 0 && resident.bytes.host > 0);
    lease.release();
    await setting.use(b);
    const left = setting.adapters.find(a.id)!;
    assert.deepEqual([left.state, left.runningCount, left.bytes.device], ['on_host', 0, 0]);
    assert.deepEqual(
      setting.adapters.statuses().map(({ id, state }) => [id, state]),
      [
        [a.id, 'on_host'],
        [b.id, 'resident'],
      ],
    );
  });

  it('without a host cache it is on disk when it leaves the device', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1 });
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    await setting.use(a, b);
    assert.equal(setting.adapters.find(a.id)?.state, 'on_disk');
    assert.equal(setting.adapters.hostBytes, 0);
  });

  it('one id in two sources is two adapters, and one content under two ids is in memory once', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const local = setting.adapter(OPTIONS, 1);
    await setting.use(local, { id: local.id, source: 'hub' });
    const statuses = setting.adapters.statuses();
    assert.deepEqual(
      statuses.map(({ id, source, state }) => [id, source, state]),
      [
        [local.id, 'local', 'resident'],
        [local.id, 'hub', 'resident'],
      ],
    );
    assert.equal(setting.adapters.residents.length, 1);
    assert.equal(setting.adapters.find(local.id, 'local')?.source, 'local');
    assert.equal(setting.adapters.find(local.id, 's3'), undefined);
  });

  it('old content is told for as long as it is in memory', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 2 });
    const reference = setting.adapter(OPTIONS, 1);
    const running = await setting.adapters.acquire(reference, never);
    writeTinyAdapter(setting.folderOf(reference), makeTinyAdapter(setting.engine.tiny, OPTIONS, 2));
    await setting.use(reference);
    const [old, current] = setting.adapters.statuses();
    assert.deepEqual([old?.generation, old?.runningCount], [running.generation, 1]);
    assert.equal(setting.adapters.find(reference.id)?.generation, current?.generation);
    running.release();
    await setting.use(setting.adapter(OPTIONS, 3), setting.adapter(OPTIONS, 4));
    assert.equal(setting.adapters.statuses().filter(({ id }) => id === reference.id).length, 1);
  });
});

describe('loading', () => {
  it('a pinned adapter stays whatever else is used, and its pin follows its content', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 2 });
    const reference = setting.adapter(OPTIONS, 1);
    const status = await setting.adapters.load({ reference, pin: true }, never);
    assert.deepEqual([status.state, status.isPinned, status.lastUsedAtMs], ['resident', true, undefined]);
    const others = Array.from({ length: 6 }, (_, i) => setting.adapter(OPTIONS, 10 + i));
    await setting.use(...others, ...others);
    assert.equal(setting.adapters.find(reference.id)?.state, 'resident');
    writeTinyAdapter(setting.folderOf(reference), makeTinyAdapter(setting.engine.tiny, OPTIONS, 2));
    await setting.use(reference, ...others);
    const changed = setting.adapters.find(reference.id)!;
    assert.deepEqual([changed.state, changed.isPinned], ['resident', true]);
    assert.notEqual(changed.generation, status.generation);
    assert.deepEqual(
      setting.adapters.residents.filter(({ generation }) => generation === status.generation),
      [],
    );
  });

  it('a name stands for its adapter, and belongs to one', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    const status = await setting.adapters.load(
      { reference: { ...a, apiToken: 'secret' }, name: 'support', pin: false },
      never,
    );
    assert.deepEqual(status.names, ['support']);
    assert.deepEqual(setting.adapters.resolveName('support'), { id: a.id, source: 'local' });
    assert.equal(setting.adapters.find('support')?.id, a.id);
    assert.equal(setting.adapters.find('support', 'local'), undefined);
    const taken = setting.adapters.load({ reference: b, name: 'support', pin: false }, never);
    await assert.rejects(taken, { code: 'VALIDATION' });
    await setting.adapters.load({ reference: b, name: 'support', moveName: true, pin: false }, never);
    assert.equal(setting.adapters.resolveName('support')?.id, b.id);
    for (const name of ['', '__base_model__', 'a b', 'x'.repeat(257)]) {
      await assert.rejects(setting.adapters.load({ reference: a, name, pin: false }, never), { code: 'VALIDATION' });
    }
  });
});

describe("an adapter's own tokenizer", () => {
  it('comes with each lease, and ends once no tier holds the adapter', async () => {
    for (const hostCacheBytes of [0, MANY_BYTES]) {
      const setting = await RequestSetting.open({ maxResident: 1, hostCacheBytes });
      const [own, other] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
      const { loader } = setting;
      const read = loader.read.bind(loader);
      let endedCount = 0;
      const tokenizer: Tokenizer = { ...setting.tokenizer, dispose: async () => void endedCount++ };
      loader.read = async (folder, id, signal) => {
        const host = await read(folder, id, signal);
        return id === own.id ? { ...host, tokenizer: new SharedTokenizer(tokenizer, () => undefined) } : host;
      };
      const lease = await setting.adapters.acquire(own, never);
      assert.equal(lease.tokenizer, tokenizer);
      lease.release();
      await setting.use(other);
      assert.equal(endedCount, hostCacheBytes === 0 ? 1 : 0);
      await setting.use(own);
      await setting.adapters.unload(own.id, 'local', never);
      assert.equal(endedCount, hostCacheBytes === 0 ? 2 : 1);
      const bare = await setting.adapters.acquire(other, never);
      assert.equal(bare.tokenizer, undefined);
      bare.release();
      await setting.dispose();
    }
  });
});

describe('the budget of the device', () => {
  it('evicts for bytes, refuses what is larger than all of it, and evicts nobody for that', async (t) => {
    const probe = await RequestSetting.open();
    const { bytes } = await probe.adapters.load({ reference: probe.adapter(OPTIONS), pin: false }, never);
    await probe.dispose();
    // An estimate is a little more than what a load takes in the end.
    const setting = await RequestSetting.openFor(t, { deviceBudgetBytes: Math.floor(bytes.device * 2.5) + (64 << 10) });
    const small = Array.from({ length: 12 }, (_, i) => setting.adapter(OPTIONS, i));
    await setting.use(...small);
    const heldBytes = setting.adapters.deviceBytes;
    assert.ok(setting.evictionCount > 0 && heldBytes <= bytes.device * 2.5 + (64 << 10));
    const evictionCount = setting.evictionCount;
    const large = setting.adapter({ rank: 4000, targets: ['q_proj', 'v_proj'] });
    await assert.rejects(setting.adapters.acquire(large, never), { code: 'ADAPTER_TOO_LARGE' });
    assert.deepEqual([setting.adapters.deviceBytes, setting.evictionCount], [heldBytes, evictionCount]);
  });

  it('evicted adapters come back from the host cache without their files', async (t) => {
    const setting = await RequestSetting.openFor(t, { maxResident: 1, hostCacheBytes: MANY_BYTES });
    const [a, b] = [setting.adapter(OPTIONS, 1), setting.adapter(OPTIONS, 2)];
    let readCount = 0;
    const { loader } = setting;
    const read = loader.read.bind(loader);
    loader.read = (...of) => {
      readCount++;
      return read(...of);
    };
    await setting.use(a, b, a, b);
    assert.deepEqual([setting.backend.loadCount, readCount], [4, 2]);
  });
});

/** Unloading as operators and requests meet it: what becomes free, what is forgotten, and what stays. */

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { AdapterReference } from '../../base/adapter-reference.ts';
import { LoraxError } from '../../base/errors.ts';
import { RequestSetting } from '../../testing/request-setting.ts';
import type { TinyAdapterOptions } from '../../testing/tiny-adapter.ts';
import { until } from '../../testing/until.ts';
import { Gate } from '../../testing/watched-backend.ts';
import type { HostAdapter } from '../adapter-loader.ts';
import { AdapterCatalog } from './adapter-catalog.ts';
import { AdapterFailures } from './adapter-failures.ts';
import type { AdapterLease } from './adapter-lease.ts';
import { AdapterLeasing } from './adapter-leasing.ts';
import { AdapterNames } from './adapter-names.ts';
import { AdapterPins } from './adapter-pins.ts';
import { AdapterPlacement, type PlacementParts } from './adapter-placement.ts';
import type { PreparedAdapter } from './adapter-preparation.ts';
import { AdapterUnloading } from './adapter-unloading.ts';
import { HostCache } from './host-cache.ts';
import { Residency } from './residency.ts';

const OPTIONS: TinyAdapterOptions = { rank: 4, ranks: { v_proj: 2 }, targets: ['q_proj', 'v_proj'] };
const never: AbortSignal = new AbortController().signal;
const MANY_BYTES = 1 << 30;

describe('unloading', () => {
  it('unloading frees the bytes, forgets the names, and the next request loads anew', async (t) => {
    const setting = await RequestSetting.openFor(t, { hostCacheBytes: MANY_BYTES });
    const reference = setting.adapter(OPTIONS, 1);
    const { bytes } = await setting.adapters.load({ reference, name: 'one', pin: true }, never);
    await setting.adapters.load({ reference, name: 'two', pin: true }, never);
    assert.deepEqual((await setting.adapters.unload('two', undefined, never)).freed, { disk: 0, host: 0, device: 0 });
    assert.equal(setting.adapters.find('one')?.state, 'resident');
    const { freed } = await setting.adapters.unload('one', undefined, never);
    assert.deepEqual(freed, { ...bytes, disk: 0 });
    assert.deepEqual([setting.adapters.deviceBytes, setting.adapters.hostBytes], [0, 0]);
    assert.deepEqual(setting.adapters.statuses(), []);
    assert.equal(setting.adapters.resolveName('one'), undefined);
    await assert.rejects(setting.adapters.unload('one', undefined, never), { code: 'ADAPTER_NOT_FOUND' });
    await setting.use(reference);
    assert.equal(setting.backend.loadCount, 2);
    assert.equal(setting.adapters.find(reference.id)?.isPinned, false);
  });

  it('unloading lets running requests end, and new ones wait for the next load', async (t) => {
    const setting = await RequestSetting.openFor(t, { hostCacheBytes: MANY_BYTES });
    const reference = setting.adapter(OPTIONS, 1);
    const running = await setting.adapters.acquire(reference, never);
    const unloading = setting.adapters.unload(reference.id, 'local', never);
    assert.equal(setting.adapters.find(reference.id)?.state, 'draining');
    const next = setting.adapters.acquire(reference, never);
    await until(() => setting.adapters.waitingCount === 1, 'the next request waits');
    assert.equal(setting.backend.loadCount, 1);
    running.release();
    const { freed } = await unloading;
    assert.ok(freed.device > 0 && freed.host > 0);
    const lease = await next;
    assert.equal(setting.backend.loadCount, 2);
    assert.equal(setting.adapters.find(reference.id)?.runningCount, 1);
    lease.release();
  });

  it('what is loaded anew for a request that leaves can be unloaded again', async (t) => {
    const setting = await RequestSetting.openFor(t, { hostCacheBytes: 1 << 20 });
    const { adapters, backend } = setting;
    const reference = setting.adapter(OPTIONS);
    const lease = await adapters.acquire(reference, never);
    const unloading = adapters.unload(reference.id, reference.source, never);
    const leaving = new AbortController();
    const waiting = adapters.acquire(reference, leaving.signal);
    await until(() => adapters.waitingCount === 1, 'the next request waits');
    const gate = new Gate();
    backend.beforeLoad = () => gate.pass();
    lease.release();
    await Promise.all([gate.reached, unloading]);
    leaving.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    gate.open();
    await until(() => adapters.residents.length === 1, 'it is loaded all the same');
    assert.deepEqual(
      adapters.statuses().map(({ id, state }) => [id, state]),
      [[reference.id, 'resident']],
    );
    await adapters.unload(reference.id, reference.source, never);
    assert.deepEqual([adapters.deviceBytes, adapters.hostBytes, adapters.statuses()], [0, 0, []]);
  });

  it('what is pinned under another id keeps its memory', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const local = setting.adapter(OPTIONS, 1);
    const copy: AdapterReference = { id: `copy-of/${local.id}`, source: 'hub' };
    await setting.adapters.load({ reference: copy, pin: true }, never);
    await setting.use(local);
    assert.deepEqual((await setting.adapters.unload(local.id, 'local', never)).freed.device, 0);
    assert.equal(setting.adapters.find(copy.id)?.state, 'resident');
    assert.equal(setting.adapters.find(local.id), undefined);
  });

  it('an adapter that is gone answers with its source, and can still be unloaded', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS, 1);
    await setting.use(reference);
    rmSync(setting.folderOf(reference), { recursive: true });
    await assert.rejects(setting.adapters.acquire(reference, never), { code: 'ADAPTER_NOT_FOUND' });
    assert.ok((await setting.adapters.unload(reference.id, undefined, never)).freed.device > 0);
  });
});

describe('what the server itself needs', () => {
  it('is pinned, and unloaded only once it is let go', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reference = setting.adapter(OPTIONS);
    const lease = await setting.adapters.keep(reference, never);
    assert.equal(setting.adapters.find(reference.id)?.isPinned, true);
    await assert.rejects(setting.adapters.unload(reference.id, undefined, never), {
      code: 'VALIDATION',
      message: /`id` is the default adapter/,
    });
    assert.equal(setting.adapters.find(reference.id)?.state, 'resident');
    lease.release();
    const { freed } = await setting.adapters.unload(reference.id, undefined, never);
    assert.ok(freed.device > 0);
  });
});

const REFERENCES: readonly (AdapterReference & { readonly generation: string })[] = [
  { id: 'a', source: 'local', generation: 'A' },
  { id: 'b', source: 'local', generation: 'B' },
  { id: 'copy-of/a', source: 'hub', generation: 'A' },
];
const BYTES = 10;

/** The parts that load and unload, over files and a device that answer after a few turns. */
class Overlap {
  readonly catalog: AdapterCatalog;
  readonly hostCache = new HostCache(MANY_BYTES);
  readonly residency: Residency;
  readonly #leasing: AdapterLeasing;
  readonly #unloading: AdapterUnloading;
  readonly #pins: AdapterPins;
  readonly #leases: AdapterLease[] = [];
  readonly #asked: { readonly leaving: AbortController; readonly settled: Promise<void> }[] = [];

  constructor() {
    const { hostCache } = this;
    const now = (): number => 0;
    const failures = new AdapterFailures(now);
    const observer = { onLoaded: () => undefined, onLoadFailed: () => undefined, onEvicted: () => undefined };
    const placement = new AdapterPlacement({ loader: DEVICE, hostCache, failures, observer, now });
    const residency = new Residency({
      ...{ budgetBytes: 2 * BYTES, maxCount: 2, now },
      onEvict: (adapter) => placement.remove(adapter),
    });
    const catalog = new AdapterCatalog((of) => residency.has(of) || hostCache.peek(of) !== undefined);
    const preparation = { prepare: (reference: AdapterReference) => this.#prepare(reference) };
    const merges = { check: unused, prepare: unused };
    const [names, pins] = [new AdapterNames(), new AdapterPins(residency)];
    this.catalog = catalog;
    this.residency = residency;
    this.#pins = pins;
    this.#leasing = new AdapterLeasing({ preparation, merges, residency, placement, catalog, pins, now });
    this.#unloading = new AdapterUnloading({ catalog, names, pins, residency, hostCache, removeFiles: async () => 0 });
  }

  acquire(i: number): void {
    this.#ask(async (signal) => {
      this.#leases.push(await this.#leasing.acquire(REFERENCES[i]!, signal));
    });
  }

  pin(i: number): void {
    this.#ask(async (signal) => {
      const { record, lease } = await this.#leasing.reside(REFERENCES[i]!, signal);
      this.#pins.pin(record);
      lease.release();
    });
  }

  unload(i: number): void {
    const { id, source } = REFERENCES[i]!;
    this.#ask((signal) => this.#unloading.unload(id, source, signal));
  }

  release(i: number): void {
    this.#leases.splice(i % Math.max(1, this.#leases.length), 1)[0]?.release();
  }

  leave(i: number): void {
    this.#asked.splice(i % Math.max(1, this.#asked.length), 1)[0]?.leaving.abort(new Error('gone'));
  }

  /** All have their answers, and nobody a lease. */
  async end(): Promise<void> {
    const all = Promise.all(this.#asked.map(({ settled }) => settled));
    let hasEnded = false;
    void all.finally(() => (hasEnded = true));
    do {
      for (const lease of this.#leases.splice(0)) lease.release();
      await turn();
    } while (!hasEnded || this.#leases.length > 0);
    await all;
  }

  #ask(work: (signal: AbortSignal) => Promise<unknown>): void {
    const leaving = new AbortController();
    const isExpected = (error: unknown): boolean =>
      leaving.signal.aborted || (error instanceof LoraxError && error.code === 'ADAPTER_NOT_FOUND');
    const settled = work(leaving.signal).then(
      () => undefined,
      (error: unknown) => assert.ok(isExpected(error), String(error)),
    );
    this.#asked.push({ leaving, settled });
  }

  async #prepare({ id, source }: AdapterReference): Promise<PreparedAdapter> {
    const { generation } = REFERENCES.find((each) => each.id === id && each.source === source)!;
    const located = this.catalog.located({ id, source }, { id, source, revision: undefined, fetch: unused });
    await turn();
    const record = this.catalog.identified(located, generation);
    const readHost = async (): Promise<HostAdapter> => {
      await turn();
      const host = this.hostCache.get(generation) ?? HOST;
      this.hostCache.put(generation, host);
      return host;
    };
    return { generation, adapterId: id, record, deviceBytes: BYTES, readHost, close: () => undefined };
  }
}

const HOST: HostAdapter = {
  tensors: { lowRank: [], replacements: [], weights: [] },
  batchTypes: ['lora'],
  heads: undefined,
  report: undefined,
  tokenizer: undefined,
  byteLength: BYTES,
};

const DEVICE: PlacementParts['loader'] = {
  place: async () => {
    await turn();
    return { slot: { byteLength: BYTES, weights: new Map() }, heads: undefined };
  },
  unload: () => undefined,
};

const unused = (): never => assert.fail('nothing is merged or fetched');

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('whatever overlaps, what is in memory is known, and all of it can be unloaded', async () => {
  const adapter = fc.nat(REFERENCES.length - 1);
  const any = fc.nat(20);
  const step = fc.oneof(
    fc.record({ acquire: adapter }),
    fc.record({ unload: adapter }),
    // Only one content, so that there is always a place for the other.
    fc.record({ pin: fc.constantFrom(0, 2) }),
    fc.record({ release: any }),
    fc.record({ leave: any }),
    fc.record({ turns: fc.nat(4) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
      const overlap = new Overlap();
      const { catalog, residency, hostCache } = overlap;
      for (const each of steps) {
        if ('acquire' in each) overlap.acquire(each.acquire);
        else if ('unload' in each) overlap.unload(each.unload);
        else if ('pin' in each) overlap.pin(each.pin);
        else if ('release' in each) overlap.release(each.release);
        else if ('leave' in each) overlap.leave(each.leave);
        else for (let i = 0; i < each.turns; i++) await turn();
        residency.checkIntegrity();
        const known = new Set(catalog.records.map(({ generation }) => generation));
        assert.ok(residency.residents.every(({ generation }) => known.has(generation)));
      }
      await overlap.end();
      for (const i of REFERENCES.keys()) {
        overlap.unload(i);
        await overlap.end();
      }
      assert.deepEqual([residency.usedBytes, hostCache.usedBytes, catalog.records], [0, 0, []]);
    }),
    { seed: 1, numRuns: 500 },
  );
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import fc from 'fast-check';

import type { AdapterReference, AdapterSource } from '../base/adapter-reference.ts';
import { type ErrorCode, LoraxError } from '../base/errors.ts';
import { AccessCheck, type AccessOptions, REFUSAL_MS } from './access.ts';
import type { AdapterLocation, LocateOptions, Source, Sources } from './source.ts';

const never = new AbortController().signal;
const CACHE_MS = 30_000;

/** A source whose answers the test decides, with a clock. */
class Setting {
  nowMs = 1_000_000;
  readonly asked: string[] = [];
  /** What `locate` does for this id and token. */
  answer: (id: string, token: string | undefined, signal: AbortSignal) => Promise<void> | void = () => undefined;
  readonly check: AccessCheck;

  constructor(options: Partial<AccessOptions> = {}) {
    const names = ['hub', 'local', 's3', 'pbase'] as const;
    const sources = Object.fromEntries(names.map((name) => [name, this.#source(name)])) as unknown as Sources;
    this.check = new AccessCheck(sources, { cacheMs: CACHE_MS, onError: 'deny', now: () => this.nowMs, ...options });
  }

  ask(id: string, apiToken?: string, source: AdapterSource = 'hub', signal = never): Promise<AdapterLocation> {
    const reference: AdapterReference = { id, source, ...(apiToken !== undefined && { apiToken }) };
    return this.check.check(reference, signal);
  }

  #source(name: AdapterSource): Source {
    const locate = async (id: string, { apiToken, signal }: LocateOptions): Promise<AdapterLocation> => {
      this.asked.push(`${name} ${id} ${apiToken ?? '-'}`);
      await this.answer(id, apiToken, signal);
      return { source: name, id, revision: undefined, fetch: () => Promise.reject(new Error('not fetched here')) };
    };
    return { name, locate, list: async () => [] };
  }
}

function failure(code: ErrorCode): LoraxError {
  return new LoraxError(code, { adapterId: 'a', source: 'hub', reason: 'the test says so' });
}

function refuse(code: ErrorCode): () => never {
  return () => {
    throw failure(code);
  };
}

describe('AccessCheck', () => {
  it('asks once for each caller, id and source while the answer is good, and again after that', async () => {
    const setting = new Setting();
    for (const _ of [1, 2]) {
      for (const token of [undefined, 'one', 'two']) await setting.ask('a', token);
      await setting.ask('b', 'one');
      await setting.ask('a', 'one', 's3');
    }
    const first = ['hub a -', 'hub a one', 'hub a two', 'hub b one', 's3 a one'];
    assert.deepEqual(setting.asked, first);
    setting.nowMs += CACHE_MS - 1;
    await setting.ask('a');
    assert.equal(setting.asked.length, first.length);
    setting.nowMs += 1;
    await setting.ask('a');
    assert.deepEqual(setting.asked.slice(first.length), ['hub a -']);
  });

  it('asks the local source always, and every source where nothing is to be remembered', async () => {
    const setting = new Setting();
    for (const _ of [1, 2]) await setting.ask('a', undefined, 'local');
    assert.equal(setting.asked.length, 2);
    const forgetful = new Setting({ cacheMs: 0 });
    for (const _ of [1, 2]) await forgetful.ask('a');
    forgetful.answer = refuse('ADAPTER_FORBIDDEN');
    for (const _ of [1, 2]) await assert.rejects(forgetful.ask('a'), { code: 'ADAPTER_FORBIDDEN' });
    assert.equal(forgetful.asked.length, 4);
  });

  it('remembers refusals for a few seconds, never for longer than answers', async () => {
    for (const cacheMs of [CACHE_MS, 1000]) {
      const goodMs = Math.min(cacheMs, REFUSAL_MS);
      for (const code of ['ADAPTER_FORBIDDEN', 'ADAPTER_NOT_FOUND', 'ADAPTER_NOT_READY', 'ADAPTER_INVALID'] as const) {
        const setting = new Setting({ cacheMs });
        setting.answer = refuse(code);
        await assert.rejects(setting.ask('a'), { code });
        setting.answer = () => undefined;
        setting.nowMs += goodMs - 1;
        await assert.rejects(setting.ask('a'), { code });
        assert.equal(setting.asked.length, 1);
        setting.nowMs += 1;
        await setting.ask('a');
      }
    }
  });

  it('remembers neither outages nor errors of its own side', async () => {
    const setting = new Setting();
    for (const error of [failure('ADAPTER_UNREACHABLE'), failure('OUT_OF_MEMORY'), new Error('a bug')]) {
      setting.answer = () => Promise.reject(error);
      await assert.rejects(setting.ask('a'), error);
    }
    setting.answer = () => undefined;
    await setting.ask('a');
    assert.equal(setting.asked.length, 4);
  });

  it('denies during an outage, or allows whom it allowed last, as the operator chose', async () => {
    for (const onError of ['deny', 'allow-cached'] as const) {
      const setting = new Setting({ onError });
      setting.answer = (_, token) => (token === 'wrong' ? refuse('ADAPTER_FORBIDDEN')() : undefined);
      await setting.ask('a', 'right');
      await assert.rejects(setting.ask('a', 'wrong'));
      setting.nowMs += 100 * CACHE_MS;
      setting.answer = refuse('ADAPTER_UNREACHABLE');
      for (const [id, token] of [
        ['a', 'wrong'],
        ['a', undefined],
        ['b', 'right'],
      ] as const) {
        await assert.rejects(setting.ask(id, token), { code: 'ADAPTER_UNREACHABLE' });
      }
      if (onError === 'deny') await assert.rejects(setting.ask('a', 'right'), { code: 'ADAPTER_UNREACHABLE' });
      else assert.equal((await setting.ask('a', 'right')).id, 'a');
    }
  });

  it('does not let requests wait for an outage that is known', async () => {
    const setting = new Setting({ onError: 'allow-cached' });
    await setting.ask('a');
    setting.nowMs += CACHE_MS;
    setting.answer = refuse('ADAPTER_UNREACHABLE');
    for (const _ of [1, 2, 3]) await setting.ask('a');
    assert.equal(setting.asked.length, 2);
    setting.nowMs += REFUSAL_MS;
    setting.answer = refuse('ADAPTER_FORBIDDEN');
    await assert.rejects(setting.ask('a'), { code: 'ADAPTER_FORBIDDEN' });
  });

  it('asks one question for many who ask it at once, and goes on when one of them goes away', async () => {
    const setting = new Setting();
    let finish = (): void => undefined;
    setting.answer = () => new Promise((resolve) => (finish = resolve));
    const client = new AbortController();
    const reason = new Error('the client went away');
    const gone = assert.rejects(setting.ask('a', 't', 'hub', client.signal), reason);
    const others = Array.from({ length: 5 }, () => setting.ask('a', 't'));
    client.abort(reason);
    await gone;
    finish();
    for (const { id } of await Promise.all(others)) assert.equal(id, 'a');
    assert.equal(setting.asked.length, 1);
    await assert.rejects(setting.ask('a', 't', 'hub', client.signal), reason);
  });

  it('stops asking when all who asked are gone', async () => {
    const setting = new Setting();
    let seen: AbortSignal | undefined;
    setting.answer = (_, __, signal) =>
      new Promise((_resolve, reject) => {
        seen = signal;
        signal.addEventListener('abort', () => reject(new Error('given up')), { once: true });
      });
    const client = new AbortController();
    const reason = new Error('the client went away');
    const gone = assert.rejects(setting.ask('a', 't', 'hub', client.signal), reason);
    client.abort(reason);
    await gone;
    assert.equal(seen?.aborted, true);
    setting.answer = () => undefined;
    await setting.ask('a', 't');
  });

  it('counts an answer from when it was asked for', async () => {
    const setting = new Setting();
    let finish = (): void => undefined;
    setting.answer = () => new Promise((resolve) => (finish = resolve));
    const slow = setting.ask('a');
    setting.nowMs += CACHE_MS;
    finish();
    await slow;
    setting.answer = refuse('ADAPTER_FORBIDDEN');
    await assert.rejects(setting.ask('a'), { code: 'ADAPTER_FORBIDDEN' });
  });

  it('keeps no token in what it remembers beside the answers', async () => {
    const setting = new Setting();
    await setting.ask('a', 'hf_secret');
    setting.asked.length = 0;
    assert.ok(!inspect(setting.check, { depth: 10, showHidden: true }).includes('hf_secret'));
  });
});

const TOKENS = [undefined, 'one'] as const;
const IDS = ['a'] as const;

type Step =
  | { readonly kind: 'ask' | 'grant' | 'revoke'; readonly token: string | undefined; readonly id: string }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'outage' | 'recovery' };

const who = { token: fc.constantFrom(...TOKENS), id: fc.constantFrom(...IDS) };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('ask' as const), ...who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('grant' as const, 'revoke' as const), ...who }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 999, 4000, 5000, 30_000) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('outage' as const, 'recovery' as const) }) },
);

/** What may be allowed, told from the history alone. */
class Model {
  nowMs = 0;
  isDown = false;
  lastOutageMs = -Infinity;
  readonly #open = new Set<string>();
  readonly #closedMs = new Map<string, number>();
  /** The source's last word to a caller, and when it last said yes. */
  readonly #lastWord = new Map<string, boolean>();
  readonly #lastYesMs = new Map<string, number>();

  isOpen(who: string): boolean {
    return this.#open.has(who);
  }

  grant(who: string): void {
    this.#open.add(who);
  }

  revoke(who: string): void {
    if (this.#open.delete(who)) this.#closedMs.set(who, this.nowMs);
  }

  /** The source is asked. */
  say(who: string): boolean {
    const word = this.isOpen(who);
    this.#lastWord.set(who, word);
    if (word) this.#lastYesMs.set(who, this.nowMs);
    return word;
  }

  mayAllow(who: string, { cacheMs, onError }: AccessOptions): boolean {
    const isFresh = (ms: number | undefined): boolean => ms !== undefined && this.nowMs - ms < cacheMs;
    const lastYesMs = this.#lastYesMs.get(who);
    const saidYes = isFresh(lastYesMs) || lastYesMs === this.nowMs;
    if (saidYes && (this.isOpen(who) || isFresh(this.#closedMs.get(who)))) return true;
    const isRecentOutage = this.isDown || this.nowMs - this.lastOutageMs < Math.min(REFUSAL_MS, cacheMs);
    return onError === 'allow-cached' && isRecentOutage && this.#lastWord.get(who) === true;
  }
}

describe('AccessCheck under any history', () => {
  const options = fc.record({
    cacheMs: fc.constantFrom(0, 1000, CACHE_MS),
    onError: fc.constantFrom('deny' as const, 'allow-cached' as const),
  });

  it('never allows what the history forbids, and allows what nothing stands against', async () => {
    await fc.assert(
      fc.asyncProperty(options, fc.array(step, { maxLength: 80, size: 'max' }), async (chosen, steps) => {
        const setting = new Setting(chosen);
        const model = new Model();
        setting.nowMs = 0;
        setting.answer = (id, token) => {
          if (model.isDown) throw failure('ADAPTER_UNREACHABLE');
          if (!model.say(JSON.stringify([id, token]))) throw failure('ADAPTER_FORBIDDEN');
        };
        const refusedMs = new Map<string, number>();
        for (const now of steps) {
          if (now.kind === 'wait') setting.nowMs = model.nowMs += now.ms;
          if (now.kind === 'outage') model.isDown = true;
          if (now.kind === 'recovery') model.isDown = false;
          if (model.isDown) model.lastOutageMs = model.nowMs;
          if (!('token' in now)) continue;
          const caller = JSON.stringify([now.id, now.token]);
          if (now.kind === 'grant') model.grant(caller);
          if (now.kind === 'revoke') model.revoke(caller);
          if (now.kind !== 'ask') continue;
          const error: unknown = await setting.ask(now.id, now.token).then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          if (error === undefined) assert.ok(model.mayAllow(caller, chosen), `${caller} was allowed`);
          else {
            const sinceRefusalMs = model.nowMs - (refusedMs.get(caller) ?? -Infinity);
            const isRemembered = sinceRefusalMs < Math.min(REFUSAL_MS, chosen.cacheMs);
            assert.ok(model.isDown || !model.isOpen(caller) || isRemembered, `${caller} was refused`);
            assert.ok(error instanceof LoraxError && (error.code === 'ADAPTER_FORBIDDEN' || model.isDown));
            if (!isRemembered && error.code === 'ADAPTER_FORBIDDEN') refusedMs.set(caller, model.nowMs);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

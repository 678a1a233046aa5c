/**
 * Everything at once: 200 requests over 300 adapters with room for 8, while callers leave, content is replaced, loads and
 * fetches fail and adapters are unloaded. Every request gets an answer, every answer is one that its adapter gives alone,
 * and nothing is left behind.
 */

import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { AdapterChoice, AdapterReference } from '../../base/adapter-reference.ts';
import { LoraxError } from '../../base/errors.ts';
import { handlesBesideSteps } from '../../testing/handles.ts';
import { Random } from '../../testing/random.ts';
import { RequestSetting, type Answer } from '../../testing/request-setting.ts';
import { makeTinyAdapter, writeTinyAdapter, type TinyAdapterOptions } from '../../testing/tiny-adapter.ts';

const ADAPTER_COUNT = 300;
const REQUEST_COUNT = 200;
const ROOM = 8;
const NEW_TOKENS = 4;
/** Equal for all contents, so that no replacement is ever half of each. */
const OPTIONS: TinyAdapterOptions = { rank: 2, targets: ['q_proj', 'v_proj'], deviation: 1 };
/** Errors that the test itself causes. */
const EXPECTED = new Set(['OUT_OF_MEMORY', 'ADAPTER_UNREACHABLE', 'ADAPTER_FORBIDDEN']);

class Stress {
  readonly setting: RequestSetting;
  readonly random = new Random(7);
  /** The contents that each adapter had, by its folder. */
  readonly seeds = new Map<string, number[]>();
  readonly references: readonly AdapterReference[];
  /** Answers by the contents they come from. */
  readonly #alone = new Map<string, string>();

  constructor(setting: RequestSetting) {
    this.setting = setting;
    this.references = Array.from({ length: ADAPTER_COUNT }, (_, i) => this.#write(i));
  }

  /** Half of the requests want one of ten popular adapters, some of them two merged. */
  choose(): AdapterChoice {
    const reference = this.#reference();
    if (this.random.next() > 0.1) return reference;
    const members = [reference, this.#reference()].map((each) => ({ reference: each, weight: 1 }));
    return { members, recipe: { strategy: 'cat', density: undefined, majoritySign: 'total' } };
  }

  replace({ id }: AdapterReference): void {
    const name = id.replace('copy-of/', '');
    const seed = 1000 + this.random.integer(1000);
    this.seeds.get(name)!.push(seed);
    this.#writeContent(name, seed);
  }

  get distinctShare(): number {
    return new Set(this.#alone.values()).size / this.#alone.size;
  }

  /** What each content that the adapters had meanwhile answers alone, on a server of its own. */
  async texts(choice: AdapterChoice, alone: RequestSetting): Promise<Set<string>> {
    const references = 'members' in choice ? choice.members.map(({ reference }) => reference) : [choice];
    const options = references.map(({ id }) => this.seeds.get(id.replace('copy-of/', ''))!);
    const combinations = options.reduce<number[][]>(
      (all, seeds) => all.flatMap((c) => seeds.map((s) => [...c, s])),
      [[]],
    );
    const texts = await Promise.all(combinations.map((seeds) => this.#textOf(choice, seeds, alone)));
    return new Set(texts);
  }

  async #textOf(choice: AdapterChoice, seeds: readonly number[], alone: RequestSetting): Promise<string> {
    const known = this.#alone.get(seeds.join(' '));
    if (known !== undefined) return known;
    const members = seeds.map((seed) => ({ reference: this.#aloneAdapter(seed, alone), weight: 1 }));
    const adapter = 'members' in choice ? { ...choice, members } : members[0]!.reference;
    const { result, error } = await alone.answer({ adapter, maxNewTokens: NEW_TOKENS });
    assert.equal(error, undefined);
    this.#alone.set(seeds.join(' '), result!.text);
    return result!.text;
  }

  #aloneAdapter(seed: number, alone: RequestSetting): AdapterReference {
    const id = `seed-${seed}`;
    writeTinyAdapter(join(alone.engine.root, 'adapters', id), makeTinyAdapter(alone.engine.tiny, OPTIONS, seed));
    return { id, source: 'local' };
  }

  #reference(): AdapterReference {
    const index = this.random.next() < 0.5 ? this.random.integer(10) : this.random.integer(ADAPTER_COUNT);
    return this.references[index]!;
  }

  #write(i: number): AdapterReference {
    const name = `adapter-${i}`;
    this.seeds.set(name, [i]);
    this.#writeContent(name, i);
    return i % 3 === 0 ? { id: `copy-of/${name}`, source: 'hub' } : { id: name, source: 'local' };
  }

  /** As downloaders and trainers should do it: the files are written elsewhere and put in place by renaming. */
  #writeContent(name: string, seed: number): void {
    const { root, tiny } = this.setting.engine;
    const [fresh, place] = [join(root, 'fresh'), join(root, 'adapters', name)];
    writeTinyAdapter(fresh, makeTinyAdapter(tiny, OPTIONS, seed));
    mkdirSync(place, { recursive: true });
    for (const file of ['adapter_config.json', 'adapter_model.safetensors']) {
      renameSync(join(fresh, file), join(place, file));
    }
    rmSync(fresh, { recursive: true });
  }
}

it('no answer is wrong, missing or left behind', async (t) => {
  const before = handlesBesideSteps();
  const setting = await RequestSetting.open({
    ...{ maxResident: ROOM, hostCacheBytes: 100_000, limits: { maxConcurrentRequests: REQUEST_COUNT } },
  });
  const stress = new Stress(setting);
  const { random } = stress;
  setting.backend.beforeLoad = async () => {
    await pause(random.integer(3));
    if (random.next() < 0.05) throw new LoraxError('OUT_OF_MEMORY', { what: 'tensors' });
  };
  setting.hub.beforeFetch = async (id, signal) => {
    await pause(random.integer(3));
    signal.throwIfAborted();
    if (random.next() < 0.05) throw new LoraxError('ADAPTER_UNREACHABLE', { adapterId: id, reason: 'cut' });
  };
  setting.beforeCheck = ({ id }) => {
    setting.nowMs += 20;
    if (random.next() < 0.02) throw new LoraxError('ADAPTER_FORBIDDEN', { adapterId: id });
  };
  const disturb = async (): Promise<void> => {
    const reference = stress.references[random.integer(10)]!;
    if (random.next() < 0.5) stress.replace(reference);
    else await setting.adapters.unload(reference.id, reference.source, new AbortController().signal).catch(isUnknown);
  };
  const ask = async (): Promise<{ choice: AdapterChoice; answer: Answer; isLeft: boolean }> => {
    await pause(random.integer(300));
    const choice = stress.choose();
    const leaving = new AbortController();
    const isLeft = random.next() < 0.2;
    if (isLeft) void pause(random.integer(30)).then(() => leaving.abort(new Error('gone')));
    const answering = setting.answer({ adapter: choice, maxNewTokens: NEW_TOKENS }, leaving.signal);
    if (random.next() < 0.15) await disturb();
    return { choice, answer: await answering, isLeft };
  };
  const outcomes = await Promise.all(Array.from({ length: REQUEST_COUNT }, ask));
  assert.ok(setting.adapters.residents.length <= ROOM);
  setting.adapters.checkIntegrity();
  for (const { id, source } of setting.adapters.statuses()) {
    // One id may stand there twice, with its old content and its new one.
    await setting.adapters.unload(id, source, new AbortController().signal).catch(isUnknown);
  }
  // Merges are nobody's record; none is left, for cat makes none.
  assert.deepEqual([setting.adapters.deviceBytes, setting.adapters.hostBytes], [0, 0]);
  await setting.dispose();
  assert.deepEqual(handlesBesideSteps(), before);

  const alone = await RequestSetting.open({ maxResident: ROOM });
  t.after(() => alone.dispose());
  let answeredCount = 0;
  for (const { choice, answer, isLeft } of outcomes) {
    if (answer.result !== undefined) {
      answeredCount++;
      const texts = await stress.texts(choice, alone);
      assert.ok(texts.has(answer.result.text), `${JSON.stringify(choice)} answered ${answer.result.text}`);
    } else {
      const { error } = answer;
      const isExpected = error instanceof LoraxError && EXPECTED.has(error.code);
      assert.ok(
        isExpected || (isLeft && String(error).includes('gone')),
        `${JSON.stringify(choice)}: ${String(error)}`,
      );
    }
  }
  assert.ok(answeredCount > REQUEST_COUNT / 2, `${answeredCount} were answered`);
  assert.ok(stress.distinctShare > 0.5, 'adapters are told apart by their answers');
});

/** An adapter that nobody named yet, or that was unloaded a moment ago. */
function isUnknown(error: unknown): void {
  assert.ok(error instanceof LoraxError && error.code === 'ADAPTER_NOT_FOUND', String(error));
}

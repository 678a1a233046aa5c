import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { StepSegment } from '../backend/step.ts';
import { LoraxError } from '../base/errors.ts';
import { GREEDY } from '../engine/sampling/params.ts';
import {
  finishReason,
  readAnswer,
  RequestSetting,
  type Answer,
  type RequestSettingOptions,
} from '../testing/request-setting.ts';
import { textless } from '../testing/textless.ts';
import { until } from '../testing/until.ts';
import { Gate } from '../testing/watched-backend.ts';
import type { Generation, GenerationRequest } from './request.ts';

/** A prompt of `length` tokens, all of them `letter`. */
const prompt = (length: number, letter = 65): GenerationRequest['prompt'] => ({
  tokens: Array.from({ length }, () => letter),
});

/** Which letters take part in a step, and with how many rows. */
function rowsOf(segments: readonly StepSegment[]): [letter: string, rowCount: number][] {
  return segments.map(({ tokens }) => [String.fromCharCode(tokens[0]!), tokens.length]);
}

/** Holds the step at which `when` first is true. */
function holdStep(setting: RequestSetting, when: (segments: readonly StepSegment[]) => boolean): Gate {
  const gate = new Gate();
  setting.backend.beforeStep = (segments) => {
    if (!when(segments)) return;
    setting.backend.beforeStep = () => undefined;
    return gate.pass();
  };
  return gate;
}

/** Makes every token the model says the letter that it is asked after, so that rows tell whose they are. */
function echo(setting: RequestSetting): void {
  setting.backend.nextToken = ({ tokens }) => tokens.at(-1);
}

describe('admission', () => {
  it('is in order of arrival, as many as run at the same time', async (t) => {
    const setting = await RequestSetting.openFor(t, { limits: { maxBatchSize: 2 } });
    echo(setting);
    const letters = [65, 66, 67, 68];
    const gate = holdStep(setting, () => true);
    const answers = letters.map((letter, i) =>
      setting.answer({ prompt: prompt(3, letter), maxNewTokens: 3 - (i % 2) }),
    );
    await gate.reached;
    gate.open();
    for (const answer of await Promise.all(answers)) assert.equal(finishReason(answer), 'length');
    assert.ok(setting.backend.steps.every((segments) => segments.length <= 2));
    const arrivals = setting.backend.steps.flatMap((segments) => rowsOf(segments).map(([letter]) => letter));
    assert.deepEqual([...new Set(arrivals)].join(''), 'ABCD');
    assert.deepEqual(
      setting.admitted.reduce((sum, count) => sum + count, 0),
      4,
    );
  });

  it('waits for cells, and lets nobody pass who needs fewer', async (t) => {
    const setting = await RequestSetting.openFor(t, { cellCount: 40, limits: { maxTotalTokens: 40 } });
    echo(setting);
    const [large, larger, small] = await Promise.all(
      [
        { prompt: prompt(20, 65), maxNewTokens: 6 },
        { prompt: prompt(20, 66), maxNewTokens: 2 },
        { prompt: prompt(2, 67), maxNewTokens: 2 },
      ].map((request) => setting.answer(request)),
    );
    for (const answer of [large!, larger!, small!]) assert.equal(finishReason(answer), 'length');
    const order = setting.backend.steps.map((segments) =>
      rowsOf(segments)
        .map(([letter]) => letter)
        .join(''),
    );
    assert.deepEqual(order, ['A', 'A', 'A', 'A', 'A', 'A', 'BC', 'BC']);
  });

  it('takes so many cells as the request may come to need, and gives all of them back', async (t) => {
    const setting = await RequestSetting.openFor(t, { cellCount: 40 });
    const gate = holdStep(setting, () => true);
    const answer = setting.answer({ prompt: prompt(10), maxNewTokens: 7 });
    await gate.reached;
    assert.equal(setting.engine.kv.usedCount, 16);
    assert.deepEqual([setting.scheduler.runningCount, setting.scheduler.queueLength], [1, 0]);
    gate.open();
    await answer;
    assert.equal(setting.engine.kv.usedCount, 0);
    assert.equal(setting.scheduler.runningCount, 0);
  });
});

describe('a step', () => {
  it('splits long prompts by the budget, oldest first, while others go on', async (t) => {
    const setting = await RequestSetting.openFor(t, { limits: { maxBatchPrefillTokens: 8 } });
    echo(setting);
    const gate = holdStep(setting, ([first]) => first?.position === 4);
    const early = setting.answer({ prompt: prompt(4, 65), maxNewTokens: 6 });
    await gate.reached;
    const late = [setting.answer({ prompt: prompt(19, 66), maxNewTokens: 2 })];
    late.push(setting.answer({ prompt: prompt(6, 67), maxNewTokens: 1 }));
    await new Promise((resolve) => setImmediate(resolve));
    gate.open();
    for (const answer of await Promise.all([early, ...late])) assert.equal(finishReason(answer), 'length');
    assert.deepEqual(setting.backend.steps.map(rowsOf), [
      [['A', 4]],
      [['A', 1]],
      [
        ['A', 1],
        ['B', 8],
      ],
      [
        ['A', 1],
        ['B', 8],
      ],
      [
        ['A', 1],
        ['B', 3],
        ['C', 5],
      ],
      [
        ['A', 1],
        ['B', 1],
        ['C', 1],
      ],
    ]);
    assert.deepEqual(
      setting.reports.map(({ method, rowCount, sequenceCount }) => [method, rowCount, sequenceCount]),
      [
        ['prefill', 4, 1],
        ['decode', 1, 1],
        ['prefill', 9, 2],
        ['prefill', 9, 2],
        ['prefill', 9, 3],
        ['prefill', 3, 3],
      ],
    );
  });

  it('that fails fails those in it, and the loop goes on', async (t) => {
    const setting = await RequestSetting.openFor(t, { limits: { maxBatchSize: 2 } });
    const broken = new Error('the device is on fire');
    const gate = new Gate();
    setting.backend.beforeStep = async () => {
      setting.backend.beforeStep = () => undefined;
      await gate.pass();
      throw broken;
    };
    const answers = [setting.answer({ maxNewTokens: 3 })];
    await gate.reached;
    for (const maxNewTokens of [3, 4]) answers.push(setting.answer({ maxNewTokens }));
    await until(() => setting.scheduler.queueLength === 2, 'two are queued');
    assert.equal(setting.scheduler.lastFailure, undefined);
    const health: unknown[] = [];
    setting.backend.beforeStep = () => void health.push(setting.scheduler.lastFailure);
    gate.open();
    const [first, second, third] = await Promise.all(answers);
    assert.ok(first!.error instanceof LoraxError && first!.error.code === 'GENERATION');
    assert.equal(first!.error.cause, broken);
    assert.doesNotMatch(first!.error.message, /fire/, 'callers are not told what broke inside');
    for (const answer of [second!, third!]) assert.equal(finishReason(answer), 'length');
    assert.deepEqual(health.slice(0, 2), [broken, undefined]);
    assert.equal(setting.scheduler.lastFailure, undefined);
    assert.deepEqual(setting.failedSteps, ['prefill']);
  });

  it('that finds no memory fails the generation of those in it, with 424, and the loop goes on', async (t) => {
    const setting = await RequestSetting.openFor(t);
    setting.backend.beforeStep = () => {
      setting.backend.beforeStep = () => undefined;
      throw new LoraxError('OUT_OF_MEMORY', { what: 'a step of 3 rows' });
    };
    const { error } = await setting.answer({ maxNewTokens: 3 });
    assert.ok(error instanceof LoraxError && error.spec.status === 424);
    assert.match(error.message, /no memory is left for a step of 3 rows/);
    assert.equal(finishReason(await setting.answer({ maxNewTokens: 3 })), 'length');
    assert.equal(setting.scheduler.lastFailure, undefined);
  });

  it('with a row that fails fails that row alone', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const healthy = { prompt: prompt(3, 65), maxNewTokens: 4 };
    const expected = await setting.answer(healthy);
    setting.backend.nextToken = ({ tokens }) => (tokens[0] === 66 ? NaN : undefined);
    const requests = [healthy, { prompt: prompt(3, 66), maxNewTokens: 4 }, healthy];
    const [first, spoilt, last] = await Promise.all(requests.map((request) => setting.answer(request)));
    assert.ok(spoilt!.error instanceof LoraxError && spoilt!.error.code === 'GENERATION');
    assert.match(spoilt!.error.message, /not finite/);
    for (const answer of [first!, last!]) assert.equal(answer.result?.text, expected.result?.text);
    assert.equal(setting.scheduler.lastFailure, undefined);
    assert.deepEqual(setting.failedSteps, []);
  });

  it('with a row whose text fails fails that row alone', async (t) => {
    const setting = await RequestSetting.openFor(t, { wrapTokenizer: textless(90) });
    setting.backend.nextToken = ({ tokens }) => (tokens[0] === 66 ? 90 : 67);
    const [first, spoilt, last] = await Promise.all(
      [65, 66, 68].map((letter) => setting.answer({ prompt: prompt(3, letter), maxNewTokens: 3 })),
    );
    assert.ok(spoilt!.error instanceof LoraxError && spoilt!.error.code === 'GENERATION');
    for (const answer of [first!, last!]) assert.equal(answer.result?.text, 'CCC');
    assert.equal(setting.scheduler.lastFailure, undefined);
  });
});

describe('a caller who leaves', () => {
  /** Where the request is when its caller leaves; B is the request, A one that stays. */
  const PLACES: Readonly<
    Record<string, { limits: RequestSettingOptions['limits']; at: (segments: readonly StepSegment[]) => boolean }>
  > = {
    'while it is queued': { limits: { maxBatchSize: 1 }, at: () => true },
    'in the middle of its prompt': {
      limits: { maxBatchPrefillTokens: 8 },
      at: (segments) => segments.some(({ tokens, position }) => tokens[0] === 66 && position > 0 && position < 20),
    },
    'while it is generated': {
      limits: {},
      at: (segments) => segments.some(({ tokens, position }) => tokens[0] === 66 && position === 22),
    },
  };
  for (const [where, { limits, at }] of Object.entries(PLACES)) {
    for (const how of ['aborts', 'stops reading'] as const) {
      // Nobody reads a queued request's events yet.
      if (how === 'stops reading' && where !== 'while it is generated') continue;
      it(`and ${how} ${where} costs no further step and frees its cells`, async (t) => {
        const setting = await RequestSetting.openFor(t, { ...(limits && { limits }) });
        echo(setting);
        const gate = holdStep(setting, at);
        const staying = setting.answer({ prompt: prompt(5, 65), maxNewTokens: 12 });
        const leaving = new AbortController();
        const generation = await setting.generate({ prompt: prompt(20, 66), maxNewTokens: 50 }, leaving.signal);
        const reading = how === 'aborts' ? readAnswer(generation) : readSome(generation, 2);
        await gate.reached;
        if (how === 'aborts') leaving.abort(new Error('gone'));
        else await reading;
        const stepCount = setting.backend.steps.length;
        gate.open();
        assert.equal(finishReason(await staying), 'length');
        const later = setting.backend.steps.slice(stepCount).flatMap((segments) => rowsOf(segments));
        assert.ok(later.length > 0 && later.every(([letter]) => letter === 'A'));
        assert.equal(setting.engine.kv.usedCount, 0);
        const answer = await reading;
        assert.deepEqual([answer.error !== undefined, answer.result], [how === 'aborts', undefined]);
      });
    }
  }

  it('before he is taken in is told his own reason', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const reason = new Error('changed my mind');
    for (const request of [{}, { prompt: prompt(3) }]) {
      const { error } = await setting.answer(request, AbortSignal.abort(reason));
      assert.equal(error, reason);
    }
    assert.deepEqual(setting.backend.steps, []);
  });

  it('leaves no listener on his signal', async (t) => {
    const setting = await RequestSetting.openFor(t);
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const adapter = setting.adapter({ rank: 4, targets: ['q_proj'] });
    assert.equal(finishReason(await setting.answer({ adapter }, signal)), 'length');
    assert.equal(listeners, 0);
  });
});

describe('closing', () => {
  it('finishes what is in hand and refuses what comes later', async (t) => {
    const setting = await RequestSetting.openFor(t, { limits: { maxBatchSize: 1 } });
    const gate = holdStep(setting, () => true);
    const inHand = [1, 2, 3].map(() => setting.answer({ maxNewTokens: 4 }));
    await gate.reached;
    await until(() => setting.scheduler.queueLength === 2, 'two are queued');
    const closed = setting.scheduler.close();
    const { error } = await setting.answer({});
    assert.ok(error instanceof LoraxError && error.code === 'SHUTTING_DOWN');
    gate.open();
    for (const answer of await Promise.all(inHand)) assert.equal(finishReason(answer), 'length');
    await closed;
    await setting.scheduler.close();
  });

  it('ends at once where nothing is in hand', async (t) => {
    await (await RequestSetting.openFor(t)).scheduler.close();
  });
});

describe('any schedule', () => {
  interface Caller {
    readonly promptLen: number;
    readonly newTokens: number;
    readonly arrivesAt: number;
    /** Step before which the caller aborts. */
    readonly abortsAt: number | undefined;
    /** Tokens after which the caller stops reading. */
    readonly readsUpTo: number | undefined;
    readonly adapter: number;
    readonly sampled: boolean;
    /** Step before which the device fails. */
    readonly breaksAt: number | undefined;
  }
  const sometimes = (max: number): fc.Arbitrary<number | undefined> =>
    fc.option(fc.nat(max), { nil: undefined, freq: 2 });
  const caller: fc.Arbitrary<Caller> = fc.record({
    promptLen: fc.integer({ min: 1, max: 30 }),
    newTokens: fc.nat(8),
    arrivesAt: fc.nat(12),
    abortsAt: sometimes(16),
    readsUpTo: sometimes(4),
    adapter: fc.integer({ min: -1, max: 2 }),
    sampled: fc.boolean(),
    breaksAt: fc.option(fc.nat(20), { nil: undefined, freq: 12 }),
  });

  it('gives every request one end or one error, and everything back', async (t) => {
    const limits = { maxBatchSize: 3, maxBatchPrefillTokens: 16, maxConcurrentRequests: 64 };
    const setting = await RequestSetting.openFor(t, { limits, cellCount: 64, maxResident: 2 });
    const adapters = [1, 2, 3].map((seed) => setting.adapter({ rank: seed, targets: ['q_proj', 'down_proj'] }, seed));
    const expected = new Map<string, Promise<Answer>>();

    const requestOf = ({ promptLen, newTokens, adapter, sampled }: Caller): Partial<GenerationRequest> => ({
      prompt: prompt(promptLen, 97 + promptLen),
      maxNewTokens: newTokens,
      adapter: adapters[adapter],
      ...(sampled && { sampling: { ...GREEDY, doSample: true, seed: BigInt(promptLen) } }),
    });
    /** What the request gets when it is alone. */
    const alone = (of: Caller): Promise<Answer> => {
      const key = JSON.stringify([of.promptLen, of.newTokens, of.adapter, of.sampled]);
      const answer = expected.get(key) ?? setting.answer(requestOf(of));
      expected.set(key, answer);
      return answer;
    };

    await fc.assert(
      fc.asyncProperty(fc.array(caller, { minLength: 1, maxLength: 8 }), async (callers) => {
        for (const of of callers) assert.equal(finishReason(await alone(of)), 'length');
        const outcomes = await play(setting, callers, requestOf);
        const broke = setting.failedSteps.splice(0).length > 0;
        for (const [i, of] of callers.entries()) {
          const outcome = outcomes[i]!;
          const wanted = await alone(of);
          const ids = outcome.tokens.map(({ id }) => id);
          assert.deepEqual(
            ids,
            wanted.tokens.slice(0, ids.length).map(({ id }) => id),
          );
          if (outcome.result) assert.deepEqual(outcome.result, wanted.result);
          else assert.ok(outcome.error !== undefined || of.readsUpTo !== undefined, 'an end or an error');
          const undisturbed = of.abortsAt === undefined && of.readsUpTo === undefined && !broke;
          if (undisturbed) assert.equal(outcome.error, undefined, String(outcome.error));
        }
        await settled(setting);
        assert.equal(setting.engine.kv.usedCount, 0);
        assert.equal(setting.engine.kv.store.shape.cellCount, 64);
      }),
      { seed: 1, numRuns: 40 },
    );
    // Leases that were not released would leave no room for a third adapter.
    for (const adapter of adapters) assert.equal(finishReason(await setting.answer({ adapter })), 'length');
    const many = await Promise.all(Array.from({ length: 64 }, () => setting.generate({ maxNewTokens: 0 })));
    for (const generation of many) assert.equal(finishReason(await readAnswer(generation)), 'length');
  });

  /** Lets the callers come, leave and break the device at their steps. */
  async function play(
    setting: RequestSetting,
    callers: readonly Caller[],
    requestOf: (of: Caller) => Partial<GenerationRequest>,
  ): Promise<Answer[]> {
    const controllers = callers.map(() => new AbortController());
    const outcomes: Promise<Answer>[] = [];
    let step = 0;
    const arrive = (): void => {
      for (const [i, of] of callers.entries()) {
        if (outcomes[i] === undefined && of.arrivesAt <= step) {
          outcomes[i] = ask(setting, requestOf(of), controllers[i]!.signal, of.readsUpTo);
        }
        if (of.abortsAt !== undefined && of.abortsAt <= step) controllers[i]!.abort(new Error('gone'));
      }
    };
    setting.backend.beforeStep = async () => {
      arrive();
      step++;
      await new Promise((resolve) => setImmediate(resolve));
      if (callers.some(({ breaksAt }) => breaksAt === step)) throw new Error('broken');
    };
    while (outcomes.filter((outcome) => outcome !== undefined).length < callers.length) {
      arrive();
      // Where no step is under way nobody else moves the clock.
      if (setting.scheduler.runningCount === 0) step++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const all = await Promise.all(outcomes);
    setting.backend.beforeStep = () => undefined;
    return all;
  }

  async function ask(
    setting: RequestSetting,
    request: Partial<GenerationRequest>,
    signal: AbortSignal,
    readsUpTo: number | undefined,
  ): Promise<Answer> {
    try {
      const generation = await setting.generate(request, signal);
      return readsUpTo === undefined ? await readAnswer(generation) : await readSome(generation, readsUpTo);
    } catch (error) {
      return { tokens: [], result: undefined, error };
    }
  }
});

/** Reads so many tokens and goes. */
async function readSome({ events }: Generation, count: number): Promise<Answer> {
  const tokens = [];
  for await (const event of events) {
    if (event.kind === 'end') return { tokens, result: event.result, error: undefined };
    if (tokens.length >= count) break;
    tokens.push(event.token);
  }
  return { tokens, result: undefined, error: undefined };
}

/** Whoever stopped reading is noticed at the next turn of the loop. */
function settled({ scheduler }: RequestSetting): Promise<void> {
  return until(() => scheduler.runningCount + scheduler.queueLength === 0, 'nothing is in hand');
}

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { liveHandles } from '../base/handles.ts';
import { Random } from '../testing/random.ts';
import { Setting, type AdapterInPlace } from '../testing/setting.ts';
import { Runner } from './runner.ts';
import { Candidates } from './sampling/candidates.ts';
import { chosenBy } from './sampling/chosen-by.ts';
import { GREEDY, type SamplingParams } from './sampling/params.ts';
import { Sampler } from './sampling/sampler.ts';
import { SamplingScratch } from './sampling/scratch.ts';
import { Draft, ROOT } from './drafting/draft.ts';
import { TokenHistory } from './sampling/token-history.ts';
import { Sequence, type ChosenToken } from './sequence.ts';
import type { Backend } from '../backend/backend.ts';
import { oneSlot, type DrawnToken, type StepOutput, type StepSegment } from '../backend/step.ts';

const VOCAB_SIZE = 264;
const WATERMARK = { gamma: 0.5, delta: 2 };
const TOLERANCE = 1e-5;

const ADAPTERS = [
  { rank: 4, alpha: 8, targets: ['q_proj', 'v_proj'] },
  { rank: 4, targets: ['q_proj', 'v_proj'] },
  { rank: 9, ranks: { v_proj: 2 }, targets: ['q_proj', 'v_proj'] },
  { rank: 3, targets: ['k_proj', 'o_proj', 'gate_proj', 'down_proj', 'lm_head'] },
];

interface Plan {
  readonly prompt: readonly number[];
  readonly adapter: number;
  readonly sampling: SamplingParams;
  readonly alternatives: number;
  readonly promptLogprobs: boolean;
  readonly newTokens: number;
  readonly joinsAt: number;
  readonly chunkLen: number;
}

interface Outcome {
  readonly chosen: ChosenToken[];
  readonly promptLogprobs: number[];
}

const PLAIN = { adapter: -1, sampling: GREEDY, alternatives: 0, promptLogprobs: false, joinsAt: 0, chunkLen: 64 };

const plan: fc.Arbitrary<Plan> = fc.record({
  prompt: fc.integer({ min: 1, max: 20 }).map((length) => new Random(length * 31).integers(length, VOCAB_SIZE)),
  adapter: fc.integer({ min: -1, max: ADAPTERS.length - 1 }),
  sampling: fc.constantFrom(
    GREEDY,
    { ...GREEDY, doSample: true, temperature: 0.8, topK: 40, seed: 5n },
    {
      ...{ ...GREEDY, repetitionPenalty: 1.2 },
    },
  ),
  alternatives: fc.constantFrom(0, 3),
  promptLogprobs: fc.boolean(),
  newTokens: fc.integer({ min: 1, max: 5 }),
  joinsAt: fc.nat(4),
  chunkLen: fc.integer({ min: 1, max: 12 }),
});

/** What to verify with a sequence's next token, given how many it has. */
type DraftFor = (index: number, done: number) => Draft | undefined;

interface Guess {
  readonly isRight: boolean;
  /** Counted back from the guess; 0 is the one before it. */
  readonly parent: number;
}

const guess: fc.Arbitrary<Guess> = fc.record({ isRight: fc.boolean(), parent: fc.nat(3) });

/** A tree of tokens that are right where they stand, if what is above them is, or wrong. */
function makeDraft(guesses: readonly Guess[], truth: readonly number[]): Draft {
  const parents = guesses.map(({ parent }, i) => Math.max(ROOT, i - 1 - parent));
  const depths: number[] = [];
  const tokens = guesses.map(({ isRight }, i) => {
    const parent = parents[i]!;
    depths.push(parent === ROOT ? 0 : depths[parent]! + 1);
    const right = truth[depths[i]!] ?? 0;
    return isRight ? right : (right + 1 + i) % VOCAB_SIZE;
  });
  return new Draft(tokens, parents);
}

const DRAWN: SamplingParams = { ...GREEDY, doSample: true, temperature: 0.8, topK: 40, topP: 0.9, seed: 5n };

/** Draws from every other row that it is asked for, as a card would. */
class DrawingDevice implements Pick<Backend, 'runStep'> {
  readonly #backend: Backend;
  readonly #candidates = new Candidates(VOCAB_SIZE);
  drawnCount = 0;
  refusedCount = 0;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  async runStep(...args: Parameters<Backend['runStep']>): Promise<StepOutput> {
    const output = await this.#backend.runStep(...args);
    const [, , segments] = args;
    return {
      times: output.times,
      logits: (segment, row) => output.logits(segment, row),
      best: (segment, row) => output.best(segment, row),
      hidden: (segment, row) => output.hidden(segment, row),
      drawn: (segment, row) => this.#draw(output.logits(segment, row), segments[segment]!, row),
    };
  }

  #draw(logits: Float32Array, { draw, outputCount }: StepSegment, row: number): DrawnToken | undefined {
    assert.ok(draw);
    if (this.drawnCount > this.refusedCount) {
      this.refusedCount++;
      return undefined;
    }
    this.drawnCount++;
    this.#candidates.fill(logits, Math.max(...logits), draw.temperature, draw.topK);
    this.#candidates.keepTopP(draw.topP);
    return this.#candidates.draw(draw.uniforms[row - outputCount + draw.uniforms.length]!);
  }
}

const KEEP_NOTHING = { keepHidden: false };

describe('Runner', () => {
  let setting: Setting;
  let runner: Runner;
  const adapters: AdapterInPlace[] = [];
  const scratch = new SamplingScratch(VOCAB_SIZE);

  before(async () => {
    setting = await Setting.open();
    runner = new Runner(setting.backend, setting.model.decoder, setting.kv);
    for (const [i, options] of ADAPTERS.entries()) adapters.push(await setting.loadAdapter(options, i));
  });
  after(() => {
    setting.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  function start(of: Plan): Sequence {
    const history = new TokenHistory(of.prompt);
    const span = setting.kv.take(of.prompt.length + of.newTokens - 1);
    assert.ok(span);
    return new Sequence({
      history,
      span,
      adapters: oneSlot(adapters[of.adapter]?.slot),
      sampler: new Sampler(of.sampling, { vocabSize: VOCAB_SIZE, watermark: WATERMARK, scratch }),
      chosenBy: chosenBy(of.sampling, of.alternatives),
      alternatives: of.alternatives,
      promptLogprobs: of.promptLogprobs,
      maxNewTokens: of.newTokens,
    });
  }

  /** Runs the plans side by side, each from the step at which it joins to its last token. */
  async function run(
    plans: readonly Plan[],
    draftFor: DraftFor = () => undefined,
    stepper: Runner = runner,
  ): Promise<Outcome[]> {
    const outcomes: Outcome[] = plans.map(() => ({ chosen: [], promptLogprobs: [] }));
    const started = new Map<number, Sequence>();
    const isDone = (i: number): boolean => outcomes[i]!.chosen.length === plans[i]!.newTokens;
    for (let step = 0; !plans.every((_, i) => isDone(i)); step++) {
      for (const [i, of] of plans.entries()) if (of.joinsAt === step) started.set(i, start(of));
      const running = [...started].filter(([i]) => !isDone(i));
      for (const [i, sequence] of running) {
        const draft = sequence.isPrefilling ? undefined : draftFor(i, outcomes[i]!.chosen.length);
        if (draft) sequence.propose(draft);
      }
      const shares = running.map(([i, sequence]) => ({ sequence, tokenCount: plans[i]!.chunkLen }));
      if (shares.length === 0) continue;
      const { advances } = await stepper.step(shares, KEEP_NOTHING);
      for (const [at, [i, sequence]] of running.entries()) {
        const advance = advances[at]!;
        assert.ok(!(advance instanceof Error), String(advance));
        outcomes[i]!.promptLogprobs.push(...advance.promptLogprobs);
        outcomes[i]!.chosen.push(...advance.chosen);
        if (isDone(i)) setting.kv.give(sequence.span);
      }
      setting.kv.checkIntegrity();
    }
    assert.equal(setting.kv.usedCount, 0);
    return outcomes;
  }

  it('gives each sequence what it gets alone, whoever joins and leaves', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 6 }), async (plans) => {
        const together = await run(plans);
        for (const [i, of] of plans.entries()) {
          const [alone] = await run([{ ...of, joinsAt: 0, chunkLen: 64 }]);
          assertSame(together[i]!, alone!);
        }
      }),
      { seed: 1, numRuns: 25 },
    );
  });

  it('gives the same with any draft as without, right or wrong, chain or tree', async () => {
    const drafted = fc.record({ plan, guesses: fc.array(guess, { maxLength: 8 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(drafted, { minLength: 1, maxLength: 4 }), async (given) => {
        const plans = given.map(({ plan: of }) => ({ ...of, newTokens: of.newTokens + 6 }));
        const plain = await run(plans);
        const draftFor: DraftFor = (i, done) => {
          const truth = plain[i]!.chosen.slice(done).map(({ id }) => id);
          return makeDraft(given[i]!.guesses.slice(0, truth.length - 1), truth);
        };
        for (const [i, outcome] of (await run(plans, draftFor)).entries()) assertSame(outcome, plain[i]!);
      }),
      { seed: 6, numRuns: 40 },
    );
  });

  it('chooses several tokens in a step where the draft was right, and moves a tree’s cells together', async () => {
    const of = { ...PLAIN, prompt: [4, 5, 6, 7], newTokens: 7 };
    const [plain] = await run([of]);
    const truth = plain!.chosen.map(({ id }) => id);
    const counts: number[] = [];
    const wrong = (truth[1]! + 1) % VOCAB_SIZE;
    const draftFor: DraftFor = (_, done) => {
      counts.push(done);
      if (done > 1) return undefined;
      return new Draft([wrong, truth[1]!, wrong, truth[2]!], [-1, -1, 0, 1]);
    };
    const [outcome] = await run([of], draftFor);
    assertSame(outcome!, plain!);
    assert.deepEqual(counts, [1, 4, 5, 6]);
  });

  it('gives prompt log-probabilities that are the log-softmax of every row, for any chunks', async () => {
    const prompt = new Random(9).integers(17, VOCAB_SIZE);
    for (const adapter of [-1, 0, 3]) {
      const rows = await setting.logitsOf(prompt, adapters[adapter], 400);
      const expected = prompt.slice(1).map((token, i) => logSoftmax(rows[i]!)[token]!);
      for (const chunkLen of [1, 2, 5, 16, 17, 64]) {
        const [{ promptLogprobs, chosen } = assert.fail()] = await run([
          { ...PLAIN, prompt, adapter, promptLogprobs: true, newTokens: 2, chunkLen },
        ]);
        assertNear(promptLogprobs, expected);
        assert.equal(chosen[0]!.id, argmax(rows.at(-1)!));
      }
    }
  });

  it('chooses greedily by the log-softmax of the last row, reduced by the device or not', async () => {
    const prompt = new Random(4).integers(6, VOCAB_SIZE);
    const logprobs = logSoftmax((await setting.logitsOf(prompt, undefined, 400)).at(-1)!);
    const best = argmax(logprobs);
    for (const alternatives of [0, 4]) {
      const [outcome] = await run([{ ...PLAIN, prompt, alternatives, newTokens: 1 }]);
      const [chosen] = outcome!.chosen;
      assert.equal(chosen!.id, best);
      assertNear([chosen!.logprob], [logprobs[best]!]);
      const ranked = [...logprobs.keys()].sort((a, b) => logprobs[b]! - logprobs[a]!).slice(0, alternatives);
      assert.deepEqual(
        chosen!.alternatives.map(({ id }) => id),
        ranked,
      );
    }
  });

  it('fails a row that is not finite, and no other', async () => {
    const healthy = { ...PLAIN, prompt: [1, 2, 3], newTokens: 1 };
    const [expected] = await run([healthy]);
    const poisoned = new Runner(
      {
        runStep: async (...args) => {
          const output = await setting.backend.runStep(...args);
          const rowOf = (segment: number, row: number): Float32Array =>
            segment === 1 ? new Float32Array(VOCAB_SIZE).fill(NaN) : output.logits(segment, row);
          const best = (segment: number, row: number): { id: number; logprob: number } =>
            segment === 1 ? { id: 0, logprob: NaN } : output.best(segment, row);
          return { logits: rowOf, best, hidden: () => new Float32Array(), times: output.times };
        },
      },
      setting.model.decoder,
      setting.kv,
    );
    for (const broken of [healthy, { ...healthy, alternatives: 2 }, { ...healthy, promptLogprobs: true }]) {
      const sequences = [healthy, broken, healthy].map((of) => start(of));
      const { advances } = await poisoned.step(
        sequences.map((sequence) => ({ sequence, tokenCount: 64 })),
        KEEP_NOTHING,
      );
      assert.ok(advances[1] instanceof Error && /finite/.test(advances[1].message));
      for (const advance of [advances[0]!, advances[2]!]) {
        assert.ok(!(advance instanceof Error));
        assert.equal(advance.chosen[0]?.id, expected!.chosen[0]!.id);
      }
      for (const { span } of sequences) setting.kv.give(span);
    }
  });

  it('takes what a device draws, and chooses itself where it draws nothing', async () => {
    const device = new DrawingDevice(setting.backend);
    const drawing = new Runner(device, setting.model.decoder, setting.kv);
    const sampled = plan.map((of) => ({ ...of, sampling: DRAWN, newTokens: of.newTokens + 4 }));
    const drafted = fc.record({ plan: sampled, guesses: fc.array(guess, { maxLength: 8 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(drafted, { minLength: 1, maxLength: 4 }), async (given) => {
        const plans = given.map(({ plan: of }) => of);
        const plain = await run(plans);
        const draftFor: DraftFor = (i, done) => {
          const truth = plain[i]!.chosen.slice(done).map(({ id }) => id);
          return makeDraft(given[i]!.guesses.slice(0, truth.length - 1), truth);
        };
        for (const [i, outcome] of (await run(plans, draftFor, drawing)).entries()) assertSame(outcome, plain[i]!);
      }),
      { seed: 3, numRuns: 25 },
    );
    assert.ok(device.drawnCount > 50 && device.refusedCount > 50);
  });

  it('counts what a sequence has yet to compute', async () => {
    const sequence = start({ ...PLAIN, prompt: [4, 5, 6, 7, 8], newTokens: 3 });
    const state = (): unknown[] => [sequence.isPrefilling, sequence.pendingLen];
    assert.deepEqual(state(), [true, 5]);
    await runner.step([{ sequence, tokenCount: 3 }], KEEP_NOTHING);
    assert.deepEqual(state(), [true, 2]);
    const { advances } = await runner.step([{ sequence, tokenCount: 3 }], KEEP_NOTHING);
    const [advance] = advances;
    assert.ok(advance !== undefined && !(advance instanceof Error));
    assert.deepEqual(state(), [false, 1]);
    setting.kv.give(sequence.span);
  });

  it('reports how long a step took', async () => {
    const sequence = start({ ...PLAIN, prompt: [4, 5, 6], newTokens: 1 });
    const { times, samplingMs } = await runner.step([{ sequence, tokenCount: 3 }], KEEP_NOTHING);
    for (const ms of [times.buildMs, times.computeMs, samplingMs]) assert.ok(ms >= 0);
    setting.kv.give(sequence.span);
  });
});

function assertSame(actual: Outcome, expected: Outcome): void {
  const idsOf = ({ chosen }: Outcome): unknown =>
    chosen.map(({ id, alternatives }) => [id, alternatives.map((token) => token.id)]);
  const scoresOf = ({ chosen, promptLogprobs }: Outcome): number[] => [
    ...promptLogprobs,
    ...chosen.flatMap(({ logprob, alternatives }) => [logprob, ...alternatives.map((token) => token.logprob)]),
  ];
  assert.deepEqual(idsOf(actual), idsOf(expected));
  assertNear(scoresOf(actual), scoresOf(expected));
}

/** Relative to the larger of the value and 1, which is what a difference of logits costs. */
function assertNear(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    const error = Math.abs(actual[i]! - value) / Math.max(1, Math.abs(value));
    assert.ok(error <= TOLERANCE, `value ${i} is ${actual[i]}, not ${value}`);
  }
}

function logSoftmax(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const peak = Math.max(...values);
  const sum = values.reduce((total, value) => total + Math.exp(value - peak), 0);
  return values.map((value) => value - peak - Math.log(sum));
}

function argmax(values: ArrayLike<number>): number {
  const list = Array.from(values);
  return list.indexOf(Math.max(...list));
}

/** What a card chooses from rows of logits, against the sampler's choices from the same rows. Runs only where there is a card. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Arena } from '../../backend/cuda/arena.ts';
import { chooseDevices, CudaDevice, listDevices } from '../../backend/cuda/device.ts';
import { compileModules } from '../../backend/cuda/kernel-modules.ts';
import { loadCudaLibraries } from '../../backend/cuda/libraries.ts';
import { Program } from '../../backend/cuda/program.ts';
import { chooseTokens, RowChoices } from '../../backend/cuda/row-choices.ts';
import { JointProgram } from '../../backend/cuda/shards/joint-program.ts';
import { SharedCardCollectives } from '../../backend/cuda/shards/shared-card.ts';
import { StepInputs } from '../../backend/cuda/step-inputs.ts';
import { layOutStep } from '../../backend/cuda/step-layout.ts';
import { Stream } from '../../backend/cuda/stream.ts';
import type { Draw, StepSegment } from '../../backend/step.ts';
import { liveHandles } from '../../base/handles.ts';
import { Random } from '../../testing/random.ts';
import { logProbability } from './log-softmax.ts';
import { GREEDY, type SamplingParams } from './params.ts';
import { Sampler, type TokenChoice } from './sampler.ts';
import { SamplingScratch } from './scratch.ts';
import { TokenHistory } from './token-history.ts';
import { NO_FOLDER } from '../../backend/cuda/testing/no-folder.ts';

/** The host computes in double precision, the card gives log-probabilities in single, relative to the larger of them and 1. */
const TOLERANCE = 2e-6;

/** Rows that a card may leave to the host, of those whose logits are not all alike: their cuts lie on boundaries. */
const UNDECIDED_SHARE = 0.01;

const WATERMARK = { gamma: 0.5, delta: 2 };

interface Row {
  readonly logits: Float32Array;
  /** Undefined draws nothing. */
  readonly draw: Draw | undefined;
}

class Card {
  readonly #device: CudaDevice;
  readonly #stream: Stream;
  readonly #arena: Arena;

  private constructor(device: CudaDevice) {
    this.#device = device;
    this.#stream = new Stream(this.#device.driver);
    this.#arena = new Arena(this.#device);
  }

  static async open(): Promise<Card> {
    const libraries = loadCudaLibraries();
    const [properties] = chooseDevices(listDevices(libraries.driver), undefined, 1);
    const { signal } = new AbortController();
    const modules = await compileModules(libraries.nvrtc, properties!, { cacheFolder: NO_FOLDER, signal });
    return new Card(new CudaDevice(libraries, properties!, modules));
  }

  /** Each row a segment of its own. */
  async choose(rows: readonly Row[]): Promise<RowChoices> {
    const segments = rows.map(({ draw }) => segmentOf(1, draw));
    const [choices] = await this.chooseOften([segments], (i) => rows[i]!.logits);
    return choices!;
  }

  /** Steps of one shape, as one program; each has the same rows of logits. */
  async chooseOften(
    steps: readonly (readonly StepSegment[])[],
    logitsOf: (row: number) => Float32Array,
  ): Promise<RowChoices[]> {
    const layouts = steps.map((segments) => layOutStep(segments));
    const rows = layouts[0]!.outputRows.length;
    const width = logitsOf(0).length;
    const logits = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++) logits.set(logitsOf(row), row * width);
    const program = new Program(this.#device, this.#stream);
    const inputs = new StepInputs(program, layouts[0]!, false);
    const slab = program.input(logits.byteLength, () => logits);
    const value = { rows, width, slab, offset: 0, stride: width, rowSet: inputs.outputs };
    const chosen = chooseTokens(program, value, inputs.draws());
    const joint = new JointProgram([program], new SharedCardCollectives(this.#device, this.#stream));
    const choices: RowChoices[] = [];
    for (const layout of layouts) {
      inputs.layOut(layout);
      joint.runOften([this.#arena], 'choices');
      await this.#stream.finish('choices');
      choices.push(new RowChoices(this.#device.driver, chosen));
    }
    joint.dispose();
    return choices;
  }

  dispose(): void {
    this.#arena.dispose();
    this.#stream.dispose();
    this.#device.dispose();
  }
}

describe('choices of a card', { skip: whyNoCard() }, () => {
  let card: Card;
  before(async () => void (card = await Card.open()));
  after(() => {
    card.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  for (const [vocabSize, batchCount] of [
    ...([1, 2, 31, 264, 4095, 4096, 4097, 9001] as const).map((size) => [size, 20] as const),
    ...([32_000, 151_936] as const).map((size) => [size, 4] as const),
  ]) {
    it(`are the sampler's, of ${vocabSize} tokens`, async () => {
      const random = new Random(vocabSize);
      const scratch = new SamplingScratch(vocabSize);
      let [drawnCount, undecidedCount] = [0, 0];
      for (let batch = 0; batch < batchCount; batch++) {
        const cases = Array.from({ length: 32 }, () => makeCase(random, vocabSize, scratch));
        const choices = await card.choose(cases);
        for (const [row, { logits, params, expected }] of cases.entries()) {
          checkBest(choices, row, logits);
          const drawn = choices.drawn(row);
          if (drawn === undefined) undecidedCount += Number(!isFlat(logits));
          else {
            drawnCount++;
            assert.equal(
              drawn.id,
              expected.id,
              JSON.stringify(params, (_, value) => String(value)),
            );
            assertNear(drawn.logprob, expected.logprob);
          }
        }
      }
      assert.ok(undecidedCount <= UNDECIDED_SHARE * drawnCount, `${undecidedCount} undecided, ${drawnCount} drawn`);
    });
  }

  it('are the sampler’s or none where little separates them', async () => {
    const random = new Random(5);
    const vocabSize = 5000;
    const scratch = new SamplingScratch(vocabSize);
    for (let batch = 0; batch < 10; batch++) {
      const cases = Array.from({ length: 32 }, () => makeCase(random, vocabSize, scratch, EXTREMES));
      const choices = await card.choose(cases);
      for (const [row, { params, expected }] of cases.entries()) {
        const { id } = choices.drawn(row) ?? expected;
        assert.equal(
          id,
          expected.id,
          JSON.stringify(params, (_, value) => String(value)),
        );
      }
    }
  });

  it('leave a number on a boundary between two tokens to the host, and take one beside it', async () => {
    const logits = new Float32Array(40).fill(-Infinity, 8).fill(-1e4, 8);
    const at = (uniform: number): Row => ({ logits, draw: { temperature: 1, topK: 8, topP: 1, uniforms: [uniform] } });
    const beside = [0.01, 0.124, 0.126, 0.374, 0.376, 0.49, 0.51, 0.999];
    const on = [0, 0.125, 0.25, 0.5, 0.875, 0.5 + 1e-13, 0.5 - 1e-13, 1 - 2 ** -53];
    const choices = await card.choose([...beside, ...on].map(at));
    assert.deepEqual(
      [...beside, ...on].map((_, row) => choices.drawn(row)?.id),
      [...beside.map((uniform) => Math.floor(uniform * 8)), ...on.map(() => undefined)],
    );
  });

  it('leave a top-p on a boundary between two tokens to the host, and take one beside it', async () => {
    const logits = Float32Array.of(0, 1, 0, 0, 1, 1, 0, 1);
    const at = (topP: number): Row => ({
      logits,
      draw: { temperature: 1, topK: 4, topP, uniforms: [0.99] },
    });
    const beside = [0, 1e-300, 0.2, 0.26, 0.49, 0.51, 0.74, 0.76, 0.99];
    const on = [0.25, 0.5, 0.75, 0.5 + 1e-13, 0.5 - 1e-13, 1 - 1e-13];
    const choices = await card.choose([...beside, ...on].map(at));
    assert.deepEqual(
      [...beside, ...on].map((_, row) => choices.drawn(row)?.id),
      [1, 1, 1, 4, 4, 5, 5, 7, 7, ...on.map(() => undefined)],
    );
  });

  it('are none of rows that are not finite or draw nothing, whatever lies beside them', async () => {
    const vocabSize = 9001;
    const scratch = new SamplingScratch(vocabSize);
    for (const bad of [NaN, Infinity, -Infinity]) {
      const random = new Random(8);
      const cases = Array.from({ length: 8 }, () => makeCase(random, vocabSize, scratch));
      for (const row of [1, 4]) cases[row]!.logits[random.integer(vocabSize)] = bad;
      const rows = cases.map(({ logits, draw }, i) => ({ logits, draw: i === 6 ? undefined : draw }));
      const choices = await card.choose(rows);
      for (const [row, { expected }] of cases.entries()) {
        assert.equal(choices.drawn(row)?.id, [1, 4, 6].includes(row) ? undefined : expected.id);
      }
      for (const row of [1, 4]) assert.equal(Number.isFinite(choices.best(row).logprob), bad === -Infinity);
    }
  });

  it('have a number of their own in each of a segment’s last rows, other ones in every run', async () => {
    const random = new Random(12);
    const [vocabSize, seed] = [5000, 77n];
    const sampling = { doSample: true, temperature: 0.9, topK: 60, topP: 0.97, seed };
    const sampler = new Sampler(
      { ...GREEDY, ...sampling },
      { vocabSize, watermark: WATERMARK, scratch: new SamplingScratch(vocabSize) },
    );
    const logits = makeLogits(random, vocabSize);
    const positions = Array.from({ length: 4 }, () => [random.integer(9), random.integer(9), random.integer(9)]);
    const steps = positions.map((of) => [
      segmentOf(3, sampler.drawAt(of)),
      segmentOf(2, undefined),
      segmentOf(4, sampler.drawAt(of.slice(1))),
    ]);
    const runs = await card.chooseOften(steps, () => logits);
    for (const [run, choices] of runs.entries()) {
      const expected = positions[run]!.map((position) => {
        return sampler.choose(logits, new TokenHistory(random.integers(position, vocabSize)), 0).id;
      });
      const ids = Array.from({ length: 9 }, (_, row) => choices.drawn(row)?.id);
      const none = [undefined, undefined];
      assert.deepEqual(ids, [...expected, ...none, ...none, ...expected.slice(1)]);
    }
  });

  it('are the likeliest tokens alone where nothing is drawn', async () => {
    const random = new Random(3);
    for (const vocabSize of [1, 264, 12_345]) {
      const rows = Array.from({ length: 5 }, () => ({ logits: makeLogits(random, vocabSize), draw: undefined }));
      const choices = await card.choose(rows);
      for (const [row, { logits }] of rows.entries()) {
        checkBest(choices, row, logits);
        assert.equal(choices.drawn(row), undefined);
      }
    }
  });
});

/** What stands in the way of running here; false where there is a card. */
function whyNoCard(): string | false {
  try {
    chooseDevices(listDevices(loadCudaLibraries().driver), undefined, 1);
    return false;
  } catch (error) {
    return String(error);
  }
}

function segmentOf(outputCount: number, draw: Draw | undefined): StepSegment {
  return {
    tokens: Array.from({ length: outputCount }, () => 0),
    position: 0,
    firstCell: 0,
    adapters: [],
    outputCount,
    draw,
  };
}

interface Case {
  readonly logits: Float32Array;
  readonly params: SamplingParams;
  readonly draw: Draw;
  readonly expected: TokenChoice;
}

interface Ranges {
  readonly temperatures: readonly number[];
  readonly topPs: readonly number[];
}

const USUAL: Ranges = { temperatures: [0.05, 0.3, 0.7, 1, 1.3, 4], topPs: [1, 1, 0.2, 0.5, 0.9, 0.95, 0.99] };

const EXTREMES: Ranges = {
  temperatures: [Number.MIN_VALUE, 1e-250, 1e-40, 1e-6, 1, 1e6, 1e300],
  topPs: [0, 1e-300, 1e-12, 0.5, 1 - 1e-6, 1 - 1e-12, 1 - 2 ** -53, 1],
};

function makeCase(random: Random, vocabSize: number, scratch: SamplingScratch, ranges: Ranges = USUAL): Case {
  const pick = <T>(from: readonly T[]): T => from[random.integer(from.length)]!;
  const { temperatures, topPs } = ranges;
  const topK = pick([0, 0, 1, 2, 5, 40, 1000, 1001, vocabSize >> 1, vocabSize - 1, vocabSize, vocabSize + 5]);
  const sampling = { temperature: pick(temperatures), topK, topP: pick(topPs) };
  const params = { ...GREEDY, doSample: true, ...sampling, seed: BigInt(random.integer(2 ** 32)) };
  const sampler = new Sampler(params, { vocabSize, watermark: WATERMARK, scratch });
  const logits = makeLogits(random, vocabSize);
  const history = new TokenHistory(random.integers(1 + random.integer(50), vocabSize));
  const expected = sampler.choose(logits, history, 0);
  return { logits, params, draw: sampler.drawAt([history.length]), expected };
}

/** Spread as a model's, nearly flat, without order, full of ties, with far outliers, or all alike. */
function makeLogits(random: Random, vocabSize: number): Float32Array {
  const kind = random.integer(7);
  const logits = random.normals(vocabSize, random.next() * 10 - 5, [2.5, 0.02, 10, 2.5, 2.5, 0, 3][kind]!);
  if (kind === 3) return logits.map((logit) => Math.round(4 * logit) / 4);
  if (kind === 4) return logits.map((logit, i) => (i % 7 === 0 ? -1e30 : logit + (i % 1000 === 3 ? 12 : 0)));
  if (kind === 6) return logits.map((logit) => (logit < -3 ? -0 : logit < 1 ? 0 : logit));
  return logits;
}

function checkBest(choices: RowChoices, row: number, logits: Float32Array): void {
  const { id, logprob } = choices.best(row);
  const expected = logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
  assert.equal(id, expected);
  assert.ok(Math.abs(logprob - logProbability(logits, expected)) < 1e-5);
}

function isFlat(logits: Float32Array): boolean {
  return logits.length > 1 && logits.every((logit) => logit === logits[0]);
}

function assertNear(actual: number, expected: number): void {
  const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
  assert.ok(error <= TOLERANCE, `${actual}, not ${expected}`);
}

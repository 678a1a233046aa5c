import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { liveHandles } from '../../base/handles.ts';
import { relativeError } from '../../testing/closeness.ts';
import { Random } from '../../testing/random.ts';
import { ownFloats, type OwnedTensor } from '../../weights/owned-tensor.ts';
import type { Projection } from '../backend.ts';
import { IGNORED_LABEL, type AdamWUpdate, type HeadBatch, type HeadScore, type HeadTrainer } from '../training.ts';
import { GgmlBackend } from './ggml-backend.ts';
import { openHeadTrainer } from './head-trainer.ts';

type Numbers = readonly number[];
type ByName = Readonly<Record<string, Numbers>>;

interface Oracle extends AdamWUpdate {
  readonly hidden: number;
  readonly vocab: number;
  readonly heads: number;
  readonly cases: readonly {
    readonly layers: number;
    readonly ownOutput: boolean;
    readonly lmHead: Numbers;
    readonly weights: Numbers;
    readonly start: ByName;
    readonly updates: readonly {
      readonly hidden: Numbers;
      readonly labels: readonly Numbers[];
      readonly losses: Numbers;
      readonly scores: readonly { readonly count: number; readonly top1: number; readonly top5: number }[];
      readonly gradients: ByName;
    }[];
    readonly end: ByName;
  }[];
}

const ORACLE_PATH = fileURLToPath(new URL('../../../src/backend/ggml/testdata/medusa_heads.json', import.meta.url));
const ORACLE = JSON.parse(readFileSync(ORACLE_PATH, 'utf8')) as Oracle;
const DEVICE = { path: undefined, threads: 1, precision: 'high' } as const;

/** Weights are used where they lie, so somebody has to hold them. */
const held = new Set<OwnedTensor>();

interface HeadsSetting {
  readonly headCount: number;
  readonly layerCount: number;
  readonly ownOutput: boolean;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly lmHead: Float32Array;
  readonly dtype?: 'bfloat16';
}

async function withTrainer(setting: HeadsSetting, use: (trainer: HeadTrainer) => Promise<void>): Promise<void> {
  const { hiddenSize, vocabSize, lmHead, dtype, ...heads } = setting;
  const backend = new GgmlBackend(DEVICE);
  const view = ownFloats('lm_head.weight', [vocabSize, hiddenSize], lmHead);
  held.add(view);
  const weight = await backend.loadWeight(view, { dtype, merged: undefined });
  const outputLayer: Projection = {
    ...{ kind: 'linear', path: 'lm_head', weight, bias: undefined },
    ...{ inFeatures: hiddenSize, outFeatures: vocabSize },
  };
  const trainer = await openHeadTrainer(DEVICE, { ...heads, outputLayer });
  try {
    await use(trainer);
  } finally {
    trainer.dispose();
    backend.dispose();
    held.delete(view);
  }
}

function randomSetting(random: Random, options: Partial<HeadsSetting> = {}): HeadsSetting {
  const sizes = { headCount: 2, layerCount: 2, ownOutput: true, hiddenSize: 6, vocabSize: 11, ...options };
  return { ...sizes, lmHead: random.normals(sizes.hiddenSize * sizes.vocabSize, 0, 0.5) };
}

function randomBatch(random: Random, { headCount, hiddenSize, vocabSize }: HeadsSetting, rowCount: number): HeadBatch {
  const label = (): number => (random.next() < 0.25 ? IGNORED_LABEL : random.integer(vocabSize));
  return {
    hidden: random.normals(rowCount * hiddenSize, 0, 1),
    labels: Array.from({ length: headCount }, () => Int32Array.from({ length: rowCount }, label)),
  };
}

function randomise(trainer: HeadTrainer, random: Random): void {
  for (const { name } of trainer.parameters) {
    const value = trainer.read(name, 'value');
    const noise = random.normals(value.length, 0, 0.3);
    trainer.write(
      name,
      'value',
      value.map((number, i) => number + noise[i]!),
    );
  }
}

const weighted = (scores: readonly HeadScore[], weights: Numbers): number =>
  scores.reduce((sum, { lossSum }, head) => sum + weights[head]! * lossSum, 0);

describe('the trainer of Medusa heads', () => {
  after(() => assert.deepEqual(liveHandles(), {}));

  for (const { layers, ownOutput, ...expected } of ORACLE.cases) {
    const what = `${layers} layer(s), ${ownOutput ? 'own output layers' : "the base's output layer"}`;
    it(`computes what PyTorch computes: ${what}`, async () => {
      const { hidden: hiddenSize, vocab: vocabSize, heads: headCount } = ORACLE;
      const lmHead = Float32Array.from(expected.lmHead);
      const setting = { headCount, layerCount: layers, ownOutput, hiddenSize, vocabSize, lmHead };
      await withTrainer(setting, async (trainer) => {
        assert.deepEqual(trainer.parameters.map(({ name }) => name).toSorted(), Object.keys(expected.start).toSorted());
        for (const [name, values] of Object.entries(expected.start)) {
          trainer.write(name, 'value', Float32Array.from(values));
        }
        for (const update of expected.updates) {
          const batch = {
            hidden: Float32Array.from(update.hidden),
            labels: update.labels.map((labels) => Int32Array.from(labels)),
          };
          const weights = expected.weights.map((weight, head) => weight / update.scores[head]!.count);
          const scores = await trainer.accumulate(batch, weights);
          for (const [head, { lossSum, ...score }] of scores.entries()) {
            assert.deepEqual(score, update.scores[head]);
            assert.ok(Math.abs(lossSum / score.count - update.losses[head]!) < 1e-5);
          }
          for (const [name, values] of Object.entries(update.gradients)) {
            const error = relativeError(trainer.read(name, 'gradient'), values);
            assert.ok(error < 1e-5, `the gradient of ${name} is off by ${error}`);
          }
          await trainer.update(ORACLE);
        }
        for (const [name, values] of Object.entries(expected.end)) {
          const error = relativeError(trainer.read(name, 'value'), values);
          assert.ok(error < 1e-5, `${name} is off by ${error}`);
        }
      });
    });
  }

  it('has the gradients of finite differences', async () => {
    const random = new Random(3);
    const setting = randomSetting(random);
    await withTrainer(setting, async (trainer) => {
      randomise(trainer, random);
      const batch = randomBatch(random, setting, 7);
      const weights = [0.3, 0.1];
      await trainer.accumulate(batch, weights);
      for (const { name } of trainer.parameters) {
        const gradient = trainer.read(name, 'gradient');
        const value = trainer.read(name, 'value');
        const at = async (change: number, index: number): Promise<number> => {
          trainer.write(name, 'value', value.with(index, value[index]! + change));
          return weighted(await trainer.evaluate(batch), weights);
        };
        for (let index = 0; index < value.length; index += 5) {
          const step = 2 ** -7;
          const slope = ((await at(step, index)) - (await at(-step, index))) / (2 * step);
          assert.ok(Math.abs(slope - gradient[index]!) < 2e-3, `${name}[${index}]: ${slope}, not ${gradient[index]}`);
        }
        trainer.write(name, 'value', value);
      }
    });
  });

  it('begins as the base model: heads guess what its output layer guesses', async () => {
    const random = new Random(4);
    for (const ownOutput of [false, true]) {
      const setting = randomSetting(random, { layerCount: 1, ownOutput });
      await withTrainer(setting, async (trainer) => {
        const { labels, hidden } = randomBatch(random, setting, 9);
        const [first, second] = await trainer.evaluate({ hidden, labels: [labels[0]!, labels[0]!] });
        assert.deepEqual(first, second);
        assert.ok(Math.abs(first!.lossSum - expectedLoss(setting, hidden, labels[0]!)) < 1e-4);
      });
    }
  });

  it('gathers gradients over batches, and an update starts again from none', async () => {
    const random = new Random(5);
    const setting = randomSetting(random);
    await withTrainer(setting, async (trainer) => {
      randomise(trainer, random);
      const batch = randomBatch(random, setting, 8);
      const half = (from: number, to: number): HeadBatch => ({
        hidden: batch.hidden.slice(from * setting.hiddenSize, to * setting.hiddenSize),
        labels: batch.labels.map((labels) => labels.slice(from, to)),
      });
      await trainer.accumulate(batch, [1, 1]);
      const whole = trainer.read('0.0.linear.weight', 'gradient');
      await trainer.update({ ...ORACLE, learningRate: 0 });
      assert.ok(trainer.read('0.0.linear.weight', 'gradient').every((value) => value === 0));
      await trainer.accumulate(half(0, 3), [1, 1]);
      await trainer.accumulate(half(3, 8), [1, 1]);
      assert.ok(relativeError(trainer.read('0.0.linear.weight', 'gradient'), whole) < 1e-5);
    });
  });

  it('learns over an output layer in bfloat16', async () => {
    const random = new Random(6);
    const setting = { ...randomSetting(random, { layerCount: 1, ownOutput: false }), dtype: 'bfloat16' as const };
    await withTrainer(setting, async (trainer) => {
      const batch = randomBatch(random, setting, 16);
      const weights = [1 / 16, 1 / 16];
      const before = weighted(await trainer.evaluate(batch), weights);
      for (let update = 0; update < 100; update++) {
        await trainer.accumulate(batch, weights);
        await trainer.update({ ...ORACLE, weightDecay: 0 });
      }
      assert.ok(weighted(await trainer.evaluate(batch), weights) < before / 2);
    });
  });
});

/** Cross-entropy of the output layer alone, in double precision. */
function expectedLoss(
  { hiddenSize, vocabSize, lmHead }: HeadsSetting,
  hidden: Float32Array,
  labels: Int32Array,
): number {
  let loss = 0;
  for (const [row, label] of labels.entries()) {
    if (label === IGNORED_LABEL) continue;
    const logits = Array.from({ length: vocabSize }, (_, token) => {
      let logit = 0;
      for (let i = 0; i < hiddenSize; i++) logit += lmHead[token * hiddenSize + i]! * hidden[row * hiddenSize + i]!;
      return logit;
    });
    loss += Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[label]!;
  }
  return loss;
}

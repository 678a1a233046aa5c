import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { HeadTrainer } from '../backend/training.ts';
import { LoraxError } from '../base/errors.ts';
import { liveHandles } from '../base/handles.ts';
import type { Progress } from '../telemetry/progress.ts';
import { Checkpoints } from './checkpoints.ts';
import { HiddenCache } from './hidden-cache.ts';
import { CURVE_FILE } from './loss-curve.ts';
import { countingSamples, openTrainingSetting, silent, TokenStates, type Opened } from './testing/training-setting.ts';
import { trainHeads, type TrainingSettings } from './train-heads.ts';

const SETTINGS: TrainingSettings = {
  ...{ epochs: 4, samplesPerUpdate: 5, peakLearningRate: 0.02, schedule: 'cosine', warmupRatio: 0.1 },
  ...{ weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, headDecay: 0.8, seed: 7n, saveSteps: 3 },
};
const SAMPLES = countingSamples(23);
const TRAINING = SAMPLES.slice(0, 18);
const EVALUATION = SAMPLES.slice(18);
/** 18 samples in groups of 5 are 4 updates an epoch. */
const UPDATE_COUNT = 16;
const noSignal = new AbortController().signal;

interface Outcome {
  readonly parameters: Record<string, Float32Array>;
  readonly curve: string;
}

describe('the training of heads', () => {
  let setting: Opened;
  let folderCount = 0;
  before(async () => {
    setting = await openTrainingSetting();
  });
  after(() => {
    setting.dispose();
    assert.deepEqual(liveHandles(), {});
  });

  const newFolder = (): string => {
    const folder = join(setting.folder, `run-${folderCount++}`);
    mkdirSync(folder);
    return folder;
  };

  interface Wanted {
    readonly settings?: Partial<TrainingSettings>;
    readonly cacheBytes?: number;
    readonly states?: TokenStates;
    readonly progress?: Progress;
    readonly identity?: string;
    readonly signal?: AbortSignal;
  }

  async function run(folder: string, wanted: Wanted = {}): Promise<Outcome> {
    const { cacheBytes = 1 << 20, states = new TokenStates(), progress = silent, identity = 'same' } = wanted;
    const trainer = await setting.openTrainer();
    const cache = await HiddenCache.open(states, folder, cacheBytes);
    const settings = { ...SETTINGS, ...wanted.settings };
    const checkpoints = new Checkpoints(folder, { training: identity });
    const parts = { trainer, cache, checkpoints, folder, progress, settings };
    try {
      await trainHeads({ ...parts, training: TRAINING, evaluation: EVALUATION }, wanted.signal ?? noSignal);
      return outcome(trainer, folder);
    } finally {
      await cache.dispose();
    }
  }

  function outcome(trainer: HeadTrainer, folder: string): Outcome {
    const parameters = trainer.parameters.map(({ name }) => [name, trainer.read(name, 'value')] as const);
    return { parameters: Object.fromEntries(parameters), curve: readFileSync(join(folder, CURVE_FILE), 'utf8') };
  }

  it('learns: the loss falls, and heads guess what they have not seen', async () => {
    const { curve } = await run(newFolder(), { settings: { epochs: 40 } });
    const lines = curve
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; loss: number; heads: { top1: number }[] });
    const updates = lines.filter(({ kind }) => kind === 'update');
    const last = lines.findLast(({ kind }) => kind === 'evaluation');
    assert.ok(updates.at(-1)!.loss < updates[0]!.loss / 2, `${updates[0]!.loss} fell to ${updates.at(-1)!.loss}`);
    // By chance it would be one in twelve.
    for (const { top1 } of last!.heads) assert.ok(top1 > 0.5, `${top1} were guessed`);
  });

  it('a training that is stopped after any update goes on to the bit', async () => {
    const whole = await run(newFolder());
    assert.equal(whole.curve.match(/"evaluation"/g)?.length, SETTINGS.epochs);
    for (const stopAt of [1, 4, 7, UPDATE_COUNT - 1]) {
      const folder = newFolder();
      const stop = new AbortController();
      const reason = new Error('stopped');
      let done = 0;
      const progress: Progress = {
        start: () => ({ advance: (count) => (done += count) === stopAt && stop.abort(reason), done: () => undefined }),
      };
      await assert.rejects(run(folder, { progress, signal: stop.signal }), reason);
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.startsWith('checkpoint')),
        [`checkpoint-${stopAt}`],
      );
      assert.deepEqual(await run(folder), whole, `stopped after ${stopAt}`);
    }
  });

  it('a checkpoint of another training is refused, and the first difference named', async () => {
    const folder = newFolder();
    await run(folder);
    await assert.rejects(
      run(folder, { identity: 'other' }),
      (error: unknown) =>
        error instanceof LoraxError &&
        /--output-dir.*checkpoint-15.*training is same there, other here/.test(error.message),
    );
  });

  it('hidden states are computed once where there is room, and the result is the same without', async () => {
    const [kept, unkept] = [new TokenStates(), new TokenStates()];
    const whole = await run(newFolder(), { states: kept });
    assert.deepEqual(await run(newFolder(), { states: unkept, cacheBytes: 500 }), whole);
    assert.equal(kept.callCount, SAMPLES.length);
    assert.ok(unkept.callCount > 3 * SAMPLES.length);
  });

  it('leaves neither the cache nor half a checkpoint behind', async () => {
    const folder = newFolder();
    await run(folder);
    assert.deepEqual(readdirSync(folder).toSorted(), ['checkpoint-15', CURVE_FILE]);
    assert.deepEqual(readdirSync(join(folder, 'checkpoint-15')).toSorted(), [
      ...['trainer_state.json', 'training_state.safetensors'],
    ]);
  });

  it('a loss that is no number ends it', async () => {
    const states = new TokenStates();
    const spoilt = Object.assign(states, {
      of: async (tokens: readonly number[]) => new Float32Array(tokens.length * states.hiddenSize).fill(NaN),
    });
    await assert.rejects(
      run(newFolder(), { states: spoilt }),
      (error: unknown) => error instanceof LoraxError && error.code === 'TRAINING_FAILED',
    );
  });
});

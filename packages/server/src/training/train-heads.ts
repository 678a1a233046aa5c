/**
 * The training of Medusa heads: groups of samples in a seeded order, one update a group, evaluations after each epoch,
 * checkpoints between. Stopped and started again it goes on to the bit. Knows no tokenizer and no model.
 */

import type { AdamWUpdate, HeadScore, HeadTrainer } from '../backend/training.ts';
import { LoraxError } from '../base/errors.ts';
import type { Progress } from '../telemetry/progress.ts';
import { rowBatches } from './batches.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { HiddenCache } from './hidden-cache.ts';
import { learningRate, type Schedule } from './learning-rate.ts';
import { LossCurve } from './loss-curve.ts';
import { shuffled } from './order.ts';
import type { Sample } from './sample.ts';
import { addScores, figures, noScores, type HeadFigures } from './scores.ts';

export interface TrainingSettings extends Omit<AdamWUpdate, 'learningRate'> {
  readonly epochs: number;
  readonly samplesPerUpdate: number;
  readonly peakLearningRate: number;
  readonly schedule: Schedule;
  readonly warmupRatio: number;
  /** Weight of head k's loss is this to the power of k. */
  readonly headDecay: number;
  readonly seed: bigint;
  /** Updates between checkpoints. */
  readonly saveSteps: number;
}

export interface TrainingParts {
  readonly trainer: HeadTrainer;
  readonly cache: HiddenCache;
  readonly training: readonly Sample[];
  readonly evaluation: readonly Sample[];
  readonly settings: TrainingSettings;
  readonly checkpoints: Checkpoints;
  /** Where the curve is written. */
  readonly folder: string;
  readonly progress: Progress;
}

/** Rejects with the signal's reason; what was learnt until then is in a checkpoint. */
export async function trainHeads(parts: TrainingParts, signal: AbortSignal): Promise<LossCurve> {
  const { trainer, checkpoints, settings, training, progress } = parts;
  await checkpoints.restore(trainer);
  const curve = await LossCurve.open(parts.folder, trainer.updateCount);
  const perEpoch = Math.ceil(training.length / settings.samplesPerUpdate);
  const plan = { perEpoch, updateCount: perEpoch * settings.epochs };
  const bar = progress.start('training', plan.updateCount, (count) => `${count} updates`);
  bar.advance(trainer.updateCount);
  try {
    while (trainer.updateCount < plan.updateCount) {
      await evaluateWhereDue(parts, plan, curve, signal);
      await update(parts, plan, curve, signal);
      bar.advance(1);
      if (trainer.updateCount % settings.saveSteps === 0) await checkpoints.save(trainer);
    }
    await evaluateWhereDue(parts, plan, curve, signal);
  } catch (error) {
    if (signal.aborted && trainer.updateCount > 0) await checkpoints.save(trainer);
    throw error;
  } finally {
    bar.done();
  }
  return curve;
}

export async function evaluate(
  { trainer, cache }: Pick<TrainingParts, 'trainer' | 'cache'>,
  samples: readonly Sample[],
  signal: AbortSignal,
): Promise<HeadFigures[]> {
  let scores = noScores(trainer.shape.headCount);
  for await (const batch of rowBatches(samples, cache, trainer.shape, signal)) {
    scores = addScores(scores, await trainer.evaluate(batch));
  }
  return figures(scores);
}

interface Plan {
  readonly perEpoch: number;
  readonly updateCount: number;
}

async function update(parts: TrainingParts, plan: Plan, curve: LossCurve, signal: AbortSignal): Promise<void> {
  const { trainer, settings } = parts;
  const index = trainer.updateCount;
  const samples = group(parts, plan, index);
  const heads = figures(await gather(parts, samples, signal));
  const loss = heads.reduce((sum, head, k) => sum + (head.loss ?? 0) * settings.headDecay ** k, 0);
  // A number that is none would spread through every parameter.
  if (!Number.isFinite(loss)) {
    throw new LoraxError('TRAINING_FAILED', { reason: `the loss of update ${index + 1} is no number; lower the rate` });
  }
  const { peakLearningRate: peak, schedule, warmupRatio } = settings;
  const rate = learningRate({ peak, schedule, warmupRatio, updateCount: plan.updateCount }, index);
  await trainer.update({ ...settings, learningRate: rate });
  const step = index + 1;
  await curve.add({ kind: 'update', step, epoch: step / plan.perEpoch, learningRate: rate, loss, heads });
}

/** After each epoch, once: a training that was stopped in the middle of it starts with it. */
async function evaluateWhereDue(
  parts: TrainingParts,
  { perEpoch }: Plan,
  curve: LossCurve,
  signal: AbortSignal,
): Promise<void> {
  const step = parts.trainer.updateCount;
  if (step === 0 || step % perEpoch !== 0 || parts.evaluation.length === 0) return;
  if (curve.points.some((point) => point.kind === 'evaluation' && point.step === step)) return;
  const heads = await evaluate(parts, parts.evaluation, signal);
  await curve.add({ kind: 'evaluation', step, epoch: step / perEpoch, heads });
}

/** The samples of one update. */
function group({ training, settings }: TrainingParts, { perEpoch }: Plan, index: number): Sample[] {
  const order = shuffled(training.length, settings.seed, Math.floor(index / perEpoch));
  const first = (index % perEpoch) * settings.samplesPerUpdate;
  return order.slice(first, first + settings.samplesPerUpdate).map((sample) => training[sample]!);
}

/** Makes each head's loss the mean over its labels in the whole group, however the group is cut into batches. */
function lossWeights({ trainer, settings }: TrainingParts, samples: readonly Sample[]): number[] {
  return Array.from({ length: trainer.shape.headCount }, (_, head) => {
    const count = samples.reduce((sum, { labels }) => sum + labels[head]!.filter((label) => label >= 0).length, 0);
    return count === 0 ? 0 : settings.headDecay ** head / count;
  });
}

async function gather(
  parts: TrainingParts,
  samples: readonly Sample[],
  signal: AbortSignal,
): Promise<readonly HeadScore[]> {
  const { trainer, cache } = parts;
  const weights = lossWeights(parts, samples);
  let scores = noScores(trainer.shape.headCount);
  for await (const batch of rowBatches(samples, cache, trainer.shape, signal)) {
    signal.throwIfAborted();
    scores = addScores(scores, await trainer.accumulate(batch, weights));
  }
  return scores;
}

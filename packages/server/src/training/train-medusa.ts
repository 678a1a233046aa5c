/**
 * `lorax train medusa` from its options to the saved folder: data, samples, hidden states, training, evaluation, files.
 * Knows no backend and no server.
 */

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { HeadsShape, HeadTrainer } from '../backend/training.ts';
import { LoraxError } from '../base/errors.ts';
import { flagOf } from '../config/option-spec.ts';
import type { MedusaOptions } from '../config/train-options.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Progress } from '../telemetry/progress.ts';
import { roundFloats } from '../weights/narrow.ts';
import type { TrainingBase } from './base.ts';
import { Checkpoints, type TrainingIdentity } from './checkpoints.ts';
import { readTrainingData } from './data-file.ts';
import { HiddenCache } from './hidden-cache.ts';
import { HEADS_FILE, writeMedusaFolder } from './medusa-folder.ts';
import type { CardFacts } from './model-card.ts';
import { split } from './order.ts';
import { makeSamples, sampleHash } from './samples.ts';
import type { Sample } from './sample.ts';
import type { HeadFigures } from './scores.ts';
import { evaluate, trainHeads, type TrainingParts, type TrainingSettings } from './train-heads.ts';

export interface TrainingTools {
  readonly log: Logger;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export interface TrainedHeads {
  readonly folder: string;
  readonly updateCount: number;
  /** Of the weights as they are saved; undefined where nothing was kept for evaluation. */
  readonly evaluation: readonly HeadFigures[] | undefined;
}

/** Options that must be there, checked before a model is loaded. Throws OPTION_INVALID. */
export function checkMedusaOptions(wanted: MedusaOptions): void {
  const { outputDir, medusaNumLayers, medusaVersion } = wanted;
  required(wanted.data, '--data', 'is required: the file to learn from');
  required(outputDir, '--output-dir', 'is required: where the heads go');
  if (medusaVersion === '2' && medusaNumLayers > 1)
    refuse('--medusa-version', '2 has one layer; --medusa-num-layers asks for more');
  if (outputDir !== undefined && !wanted.overwriteOutputDir && existsSync(join(outputDir, HEADS_FILE))) {
    refuse('--output-dir', `${basename(outputDir)} holds trained heads already; --overwrite-output-dir replaces them`);
  }
}

export async function trainMedusa(
  base: TrainingBase,
  wanted: MedusaOptions,
  tools: TrainingTools,
): Promise<TrainedHeads> {
  const data = required(wanted.data, '--data', 'is required');
  const folder = required(wanted.outputDir, '--output-dir', 'is required');
  const heads = headsOf(wanted);
  if (base.adapter?.changesOutput && !heads.ownOutput) {
    refuse(
      '--adapter-id',
      'changes the output layer; heads of version 2 cannot be trained over it, those of version 1 can',
    );
  }
  const shape = { headCount: heads.headCount, maxLen: Math.min(wanted.modelMaxLength, base.maxPositions) };
  const { tokenizer } = base;
  const samples = await makeSamples(await readTrainingData(data), shape, { tokenizer, ...tools }, tools.signal);
  if (samples.length === 0) {
    throw new LoraxError('FILE_INVALID', { file: basename(data), reason: 'no record teaches anything' });
  }
  await mkdir(folder, { recursive: true });
  const cache = await HiddenCache.open(base.hidden, folder, wanted.hiddenCacheBytes);
  const trainer = await base.openTrainer(heads);
  try {
    return await train({ base, wanted, tools, folder, samples, cache, trainer });
  } finally {
    trainer.dispose();
    await cache.dispose();
  }
}

interface Run {
  readonly base: TrainingBase;
  readonly wanted: MedusaOptions;
  readonly tools: TrainingTools;
  readonly folder: string;
  readonly samples: readonly Sample[];
  readonly cache: HiddenCache;
  readonly trainer: HeadTrainer;
}

async function train(run: Run): Promise<TrainedHeads> {
  const { base, wanted, tools, folder, samples, cache, trainer } = run;
  const { signal, progress } = tools;
  const parts = split(samples.length, wanted.evalFraction, BigInt(wanted.seed));
  const [training, evaluation] = [parts.training, parts.evaluation].map((chosen) => chosen.map((i) => samples[i]!));
  const checkpoints = new Checkpoints(folder, identityOf(run));
  const job: TrainingParts = {
    ...{ trainer, cache, checkpoints, folder, progress },
    ...{ training: training!, evaluation: evaluation!, settings: settingsOf(wanted) },
  };
  await computeHidden(cache, samples, progress, signal);
  const { points } = await trainHeads(job, signal);
  const { dtype } = base;
  // What is measured is what the file will hold.
  for (const { name } of trainer.parameters)
    trainer.write(name, 'value', roundFloats(trainer.read(name, 'value'), dtype));
  const measured = evaluation!.length === 0 ? undefined : await evaluate(job, evaluation!, signal);
  const card = cardFacts(run, job, measured);
  const adapterFiles = base.adapter?.files ?? [];
  await writeMedusaFolder(folder, { trainer, dtype, baseModelId: base.modelId, adapterFiles, points, card });
  await checkpoints.removeAll();
  return { folder, updateCount: trainer.updateCount, evaluation: measured };
}

/** All of them before the first update, so that the time is shown where it is spent. */
async function computeHidden(
  cache: HiddenCache,
  samples: readonly Sample[],
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const tokenCount = samples.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const bar = progress.start('hidden states', tokenCount, (count) => `${count} tokens`);
  try {
    for (const sample of samples) {
      if (!(await cache.keep(sample, signal))) break;
      bar.advance(sample.tokens.length);
    }
  } finally {
    bar.done();
  }
}

function headsOf(wanted: MedusaOptions): Pick<HeadsShape, 'headCount' | 'layerCount' | 'ownOutput'> {
  const { medusaNumHeads: headCount, medusaNumLayers: layerCount, medusaVersion } = wanted;
  return { headCount, layerCount, ownOutput: medusaVersion === '1' || layerCount > 1 };
}

function settingsOf(wanted: MedusaOptions): TrainingSettings {
  return {
    epochs: wanted.numTrainEpochs,
    samplesPerUpdate: wanted.perDeviceTrainBatchSize * wanted.gradientAccumulationSteps,
    peakLearningRate: wanted.learningRate,
    schedule: wanted.lrSchedulerType,
    warmupRatio: wanted.warmupRatio,
    weightDecay: wanted.weightDecay,
    beta1: wanted.adamBeta1,
    beta2: wanted.adamBeta2,
    epsilon: wanted.adamEpsilon,
    headDecay: wanted.medusaDecayCoefficient,
    seed: BigInt(wanted.seed),
    saveSteps: wanted.saveSteps,
  };
}

function identityOf({ base, wanted, samples, trainer }: Run): TrainingIdentity {
  const { saveSteps: _, ...settings } = settingsOf(wanted);
  const facts = {
    ...{ model: base.modelId, dtype: base.dtype, adapter: base.adapter?.generation ?? 'none' },
    ...trainer.shape,
    ...settings,
    ...{ evalFraction: wanted.evalFraction, data: sampleHash(samples) },
  };
  return Object.fromEntries(Object.entries(facts).map(([key, value]) => [key, String(value)]));
}

const CARD_SETTINGS = [
  ...['numTrainEpochs', 'perDeviceTrainBatchSize', 'gradientAccumulationSteps', 'learningRate', 'lrSchedulerType'],
  ...['warmupRatio', 'weightDecay', 'medusaDecayCoefficient', 'modelMaxLength', 'evalFraction', 'seed'],
] as (keyof MedusaOptions)[];

function cardFacts({ base, wanted, trainer }: Run, job: TrainingParts, evaluation: CardFacts['evaluation']): CardFacts {
  const { headCount, layerCount, ownOutput } = trainer.shape;
  return {
    ...{ headCount, layerCount, ownOutput, evaluation },
    baseModelId: base.modelId,
    adapterId: base.adapter?.id,
    sampleCount: job.training.length,
    tokenCount: job.training.reduce((sum, { labels }) => sum + labels[0]!.filter((label) => label >= 0).length, 0),
    updateCount: trainer.updateCount,
    evaluationSampleCount: job.evaluation.length,
    settings: Object.fromEntries(CARD_SETTINGS.map((key) => [flagOf(key), String(wanted[key])])),
  };
}

function required<T>(value: T | undefined, option: string, reason: string): T {
  return value ?? refuse(option, reason);
}

function refuse(option: string, reason: string): never {
  throw new LoraxError('OPTION_INVALID', { option, reason });
}

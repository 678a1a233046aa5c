/**
 * The options that only `lorax train` has, by subcommand; names are those of transformers' trainer and of the recipes
 * that Medusa heads are trained by. Never read from the environment, but for the key of the server that is asked.
 */

import type { OptionTable, OptionValues } from './option-spec.ts';
import { choice, decimal, integer, path, positive, text, toggle } from './value-forms.ts';

const MANY = 1_000_000_000;
const MANY_BYTES = 2 ** 50;

export const SCHEDULES = ['cosine', 'linear', 'constant_with_warmup'] as const;

export const MEDUSA_OPTIONS = {
  data: {
    ...path('FILE'),
    env: false,
    group: 'Data',
    help: 'Conversations to learn from, as JSON or JSON lines: ShareGPT, OpenAI messages, or prompt and completion',
  },
  modelMaxLength: {
    ...integer(4, MANY),
    default: 2048,
    env: false,
    group: 'Data',
    help: "Tokens of a sample, at most the model's own limit; the rest is cut off",
  },
  evalFraction: {
    ...decimal(0, 0.9),
    default: 0.05,
    env: false,
    group: 'Data',
    help: 'Share of the samples that is kept for evaluation',
  },
  seed: {
    ...integer(0, Number.MAX_SAFE_INTEGER),
    default: 42,
    env: false,
    group: 'Data',
    help: 'Chooses the order of the samples and those for evaluation',
  },
  hiddenCacheBytes: {
    ...integer(0, MANY_BYTES),
    default: 16 * 2 ** 30,
    env: false,
    group: 'Data',
    help: 'Disk space in --output-dir for hidden states; samples beyond it are computed anew in each epoch',
  },

  medusaNumHeads: {
    ...integer(1, 16),
    default: 3,
    env: false,
    group: 'Heads',
    help: 'Heads; the first guesses two tokens ahead, each further one a token more',
  },
  medusaNumLayers: {
    ...integer(1, 8),
    default: 1,
    env: false,
    group: 'Heads',
    help: 'Blocks of each head; more than one makes version 1',
  },
  medusaVersion: {
    ...choice('VERSION', ['1', '2']),
    derived: '2 with one layer, else 1',
    env: false,
    group: 'Heads',
    help: "2 guesses through the model's own output layer; in 1 each head has one of its own",
  },
  medusaDecayCoefficient: {
    ...positive(1),
    default: 1,
    env: false,
    group: 'Heads',
    help: "Weight of each head's loss, relative to that of the head before it",
  },

  numTrainEpochs: {
    ...integer(1, 10_000),
    default: 3,
    env: false,
    group: 'Optimization',
    help: 'How often each sample is learnt',
  },
  perDeviceTrainBatchSize: {
    ...integer(1, MANY),
    default: 4,
    env: false,
    group: 'Optimization',
    help: 'Samples of a batch',
  },
  gradientAccumulationSteps: {
    ...integer(1, MANY),
    default: 32,
    env: false,
    group: 'Optimization',
    help: 'Batches of an update',
  },
  learningRate: {
    ...positive(10),
    default: 1e-3,
    env: false,
    group: 'Optimization',
    help: 'Learning rate at its highest',
  },
  lrSchedulerType: {
    ...choice('NAME', SCHEDULES),
    default: 'cosine' as const,
    env: false,
    group: 'Optimization',
    help: 'How the learning rate falls after the warm-up',
  },
  warmupRatio: {
    ...decimal(0, 1),
    default: 0.1,
    env: false,
    group: 'Optimization',
    help: 'Share of the updates during which the learning rate rises',
  },
  weightDecay: {
    ...decimal(0, 10),
    default: 0,
    env: false,
    group: 'Optimization',
    help: 'Weight decay of AdamW; biases do not decay',
  },
  adamBeta1: {
    ...decimal(0, 0.999999),
    default: 0.9,
    env: false,
    group: 'Optimization',
    help: "Decay of AdamW's mean of gradients",
  },
  adamBeta2: {
    ...decimal(0, 0.999999),
    default: 0.999,
    env: false,
    group: 'Optimization',
    help: "Decay of AdamW's mean of squared gradients",
  },
  adamEpsilon: {
    ...positive(1),
    default: 1e-8,
    env: false,
    group: 'Optimization',
    help: "AdamW's epsilon",
  },

  outputDir: {
    ...path('DIR'),
    env: false,
    group: 'Output',
    help: 'Folder of the trained heads; with a checkpoint of the same training in it, that training goes on',
  },
  overwriteOutputDir: {
    ...toggle(),
    default: false,
    env: false,
    group: 'Output',
    help: 'Replace heads that --output-dir holds already',
  },
  saveSteps: {
    ...integer(1, MANY),
    default: 50,
    env: false,
    group: 'Output',
    help: 'Updates between checkpoints',
  },
} as const satisfies OptionTable;

export type MedusaOptions = OptionValues<typeof MEDUSA_OPTIONS>;

export const DISTILL_OPTIONS = {
  inputFilename: {
    ...path('FILE'),
    env: false,
    group: 'Data',
    help: 'Conversations whose questions are asked, as JSON or JSON lines: ShareGPT, OpenAI messages, or prompts',
  },
  outputFilename: {
    ...path('FILE'),
    env: false,
    group: 'Data',
    help: 'Where the answered conversations go; what an earlier run left unfinished goes on',
  },
  limit: {
    ...integer(1, MANY),
    derived: 'all',
    env: false,
    group: 'Data',
    help: 'Take only the first N conversations',
  },

  url: {
    ...text('URL'),
    default: 'http://127.0.0.1:3000/v1',
    env: false,
    group: 'Server',
    help: "Any OpenAI-compatible server; its /v1 or one of the two routes' own address",
  },
  model: {
    ...text('NAME'),
    derived: 'the base model',
    env: false,
    group: 'Server',
    help: 'Model, or adapter, that answers',
  },
  apiKey: {
    ...text('KEY'),
    group: 'Server',
    help: 'Key that the server asks for',
  },
  concurrency: {
    ...integer(1, 1024),
    default: 64,
    env: false,
    group: 'Server',
    help: 'Conversations in flight',
  },
  retries: {
    ...integer(0, 100),
    default: 5,
    env: false,
    group: 'Server',
    help: 'Further attempts where the server is overloaded or cannot be reached',
  },
  requestTimeoutS: {
    ...positive(86_400),
    default: 600,
    env: false,
    group: 'Server',
    help: 'Seconds after which an unanswered request counts as failed',
  },

  plainText: {
    ...toggle(),
    default: false,
    env: false,
    group: 'Sampling',
    help: 'Let the model go on with the first question as plain text, through /v1/completions, instead of chatting',
  },
  temperature: {
    ...decimal(0, 2),
    default: 0,
    env: false,
    group: 'Sampling',
    help: 'Temperature of the answers; 0 is greedy',
  },
  maxTokens: {
    ...integer(1, MANY),
    default: 512,
    env: false,
    group: 'Sampling',
    help: 'Most tokens of one answer',
  },
} as const satisfies OptionTable;

export type DistillOptions = OptionValues<typeof DISTILL_OPTIONS>;

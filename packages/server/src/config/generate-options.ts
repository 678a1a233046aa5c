/** The options that only `lorax generate` has: one prompt and how its tokens are chosen. Never read from the environment. */

import type { OptionTable, OptionValues } from './option-spec.ts';
import { choice, decimal, integer, positive, text, texts, toggle, uint64 } from './value-forms.ts';

export const GENERATE_OPTIONS = {
  prompt: {
    ...text('TEXT'),
    env: false,
    group: 'Prompt',
    help: 'The prompt; - reads it from the standard input',
  },
  maxNewTokens: {
    ...integer(1, 1_000_000_000),
    default: 128,
    env: false,
    group: 'Prompt',
    help: 'Most tokens to generate',
  },
  stop: {
    ...texts('TEXT'),
    default: [],
    env: false,
    group: 'Prompt',
    help: 'Stop after this text',
  },
  ignoreEosToken: {
    ...toggle(),
    default: false,
    env: false,
    group: 'Prompt',
    help: 'Go on after the end-of-sequence token',
  },
  temperature: {
    ...decimal(0, 1000),
    derived: 'greedy',
    env: false,
    group: 'Sampling',
    help: 'Sample, with the logits divided by this; 0 is greedy',
  },
  topK: {
    ...integer(1, 1_000_000_000),
    env: false,
    group: 'Sampling',
    help: 'Choose among the most likely K tokens',
  },
  topP: {
    ...positive(1),
    env: false,
    group: 'Sampling',
    help: 'Choose among the most likely tokens that hold this share of the probability',
  },
  typicalP: {
    ...positive(1),
    env: false,
    group: 'Sampling',
    help: 'Choose among the most typical tokens that hold this share of the probability',
  },
  repetitionPenalty: {
    ...positive(1000),
    default: 1,
    env: false,
    group: 'Sampling',
    help: 'Divide the scores of tokens that occurred; 1 is off',
  },
  frequencyPenalty: {
    ...decimal(-2, 2),
    default: 0,
    env: false,
    group: 'Sampling',
    help: 'Lower the scores of tokens by how often they occurred',
  },
  presencePenalty: {
    ...decimal(-2, 2),
    default: 0,
    env: false,
    group: 'Sampling',
    help: 'Lower the scores of tokens that occurred',
  },
  seed: {
    ...uint64(),
    derived: 'random',
    env: false,
    group: 'Sampling',
    help: 'Seed of the random numbers; the same seed gives the same text',
  },
  speculation: {
    ...choice('MODE', ['auto', 'off', 'medusa', 'ngram']),
    default: 'auto' as const,
    env: false,
    group: 'Drafting',
    help: 'How tokens are guessed ahead: by Medusa heads alone, by looking back in the text alone (ngram), or not at all; changes no answer',
  },
  speculationTokens: {
    ...integer(1, 64),
    env: false,
    group: 'Drafting',
    help: 'Most tokens guessed in a row',
  },
} as const satisfies OptionTable;

export type GenerateOptions = OptionValues<typeof GENERATE_OPTIONS>;

/**
 * Rotary position embedding: each pair's angle per position under the scaling recipes of Hugging Face configs.
 * Formulas: RoFormer (arXiv 2104.09864); linear interpolation (arXiv 2306.15595); Llama 3.1's banded scaling;
 * YaRN (arXiv 2309.00071). Knows no device and no tensor.
 */

import type { Rotary } from '../backend/backend.ts';

export interface RopeParameters {
  readonly type: string;
  readonly theta: number;
  readonly headDim: number;
  readonly maxPositions: number;
  /** The recipe's own numbers, as the config names them (`factor`, `low_freq_factor`, ...). */
  readonly settings: Readonly<Record<string, number | boolean | undefined>>;
}

type Recipe = (parameters: RopeParameters) => Omit<Rotary, 'headDim'>;

const RECIPES: Readonly<Record<string, Recipe>> = {
  default: (parameters) => ({ inverseFrequencies: plainFrequencies(parameters), attentionFactor: 1 }),
  linear: linearRope,
  llama3: llama3Rope,
  yarn: yarnRope,
};

export const ROPE_TYPES: readonly string[] = Object.keys(RECIPES);

/** Throws `RangeError` for an unknown type or a missing setting; the message names it. */
export function makeRotary(parameters: RopeParameters): Rotary {
  const recipe = Object.hasOwn(RECIPES, parameters.type) ? RECIPES[parameters.type] : undefined;
  if (recipe === undefined) {
    throw new RangeError(`rope type \`${parameters.type}\` is not known; known are ${ROPE_TYPES.join(', ')}`);
  }
  return { headDim: parameters.headDim, ...recipe(parameters) };
}

function linearRope(parameters: RopeParameters): Omit<Rotary, 'headDim'> {
  const factor = setting(parameters, 'factor');
  return {
    inverseFrequencies: plainFrequencies(parameters).map((frequency) => frequency / factor),
    attentionFactor: 1,
  };
}

/** High frequencies stay, low ones are divided by `factor`, those between are blended. */
function llama3Rope(parameters: RopeParameters): Omit<Rotary, 'headDim'> {
  const factor = setting(parameters, 'factor');
  const low = setting(parameters, 'low_freq_factor');
  const high = setting(parameters, 'high_freq_factor');
  const originalLen = setting(parameters, 'original_max_position_embeddings');
  const inverseFrequencies = plainFrequencies(parameters).map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength > originalLen / low) return frequency / factor;
    if (wavelength < originalLen / high) return frequency;
    const smooth = (originalLen / wavelength - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
  return { inverseFrequencies, attentionFactor: 1 };
}

/** Pairs that turn often within the original context keep their frequency, those that turn rarely are interpolated. */
function yarnRope(parameters: RopeParameters): Omit<Rotary, 'headDim'> {
  const { headDim, theta, settings } = parameters;
  const originalLen = Number(settings['original_max_position_embeddings'] ?? parameters.maxPositions);
  const factor = setting(parameters, 'factor');
  const pairOfTurns = (turns: number): number =>
    (headDim * Math.log(originalLen / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const truncate = settings['truncate'] ?? true;
  const round = (pair: number, to: (value: number) => number): number => (truncate ? to(pair) : pair);
  const first = Math.max(0, round(pairOfTurns(Number(settings['beta_fast'] ?? 32)), Math.floor));
  const last = Math.min(headDim - 1, round(pairOfTurns(Number(settings['beta_slow'] ?? 1)), Math.ceil));
  const span = first === last ? 0.001 : last - first;
  const inverseFrequencies = plainFrequencies(parameters).map((frequency, pair) => {
    const interpolated = Math.min(1, Math.max(0, (pair - first) / span));
    return (frequency / factor) * interpolated + frequency * (1 - interpolated);
  });
  return { inverseFrequencies, attentionFactor: yarnAttentionFactor(settings, factor) };
}

function yarnAttentionFactor(settings: RopeParameters['settings'], factor: number): number {
  const magnitude = (weight: number): number => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const { attention_factor: given, mscale, mscale_all_dim: mscaleAllDim } = settings;
  if (typeof given === 'number') return given;
  if (mscale && mscaleAllDim) return magnitude(Number(mscale)) / magnitude(Number(mscaleAllDim));
  return magnitude(1);
}

/** `theta^(-2i / headDim)` for each pair i, `[headDim / 2]`. */
function plainFrequencies({ headDim, theta }: RopeParameters): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, pair) => theta ** (-(2 * pair) / headDim));
}

function setting(parameters: RopeParameters, name: string): number {
  const value = parameters.settings[name];
  if (typeof value === 'number' && value > 0) return value;
  throw new RangeError(`rope type \`${parameters.type}\` needs a positive \`${name}\``);
}

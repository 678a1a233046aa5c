/** The shapes that random models are made of. Knows no values and no files. */

import { LoraxError } from '#server/base/errors.ts';
import { MIN_VOCAB_SIZE } from './random-tokenizer.ts';

/** A decoder of the Llama kind; the names of `config.json` in this project's spelling. */
export interface Shape {
  readonly name: string;
  readonly hiddenSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
}

/** A linear layer of the model: `weight` is `[outFeatures, inFeatures]`. */
export interface LinearShape {
  readonly path: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

const SHAPES: readonly Shape[] = [
  shape('mistral-7b', 4096, 32, 32, 8, 14_336, 32_000),
  shape('tinyllama', 2048, 22, 32, 4, 5632, 32_000),
  shape('demo', 256, 8, 8, 4, 768, 4096),
  shape('small', 512, 4, 8, 4, 1376, 4096),
];

const DIMENSIONS = [
  'hiddenSize',
  'layerCount',
  'headCount',
  'kvHeadCount',
  'intermediateSize',
  'vocabSize',
] as const satisfies readonly (keyof Shape)[];

/** A shape by name, or its dimensions as a JSON object. Throws OPTION_INVALID. */
export function readShape(text: string): Shape {
  const known = SHAPES.find(({ name }) => name === text);
  if (known) return known;
  const given = parseObject(text);
  const sizes = DIMENSIONS.map((key) => {
    const value = given[key];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) refuse(`needs a whole number \`${key}\``);
    return value;
  });
  const [hiddenSize, layerCount, headCount, kvHeadCount, intermediateSize, vocabSize] = sizes as Sizes;
  if (vocabSize < MIN_VOCAB_SIZE) refuse(`needs a vocabSize of at least ${MIN_VOCAB_SIZE}`);
  return shape(sizes.join('-'), hiddenSize, layerCount, headCount, kvHeadCount, intermediateSize, vocabSize);
}

/** The seven projections of every layer, in the model's order. */
export function projections({ layerCount, ...shape }: Shape): LinearShape[] {
  const { hiddenSize, intermediateSize } = shape;
  const kvWidth = (shape.kvHeadCount * hiddenSize) / shape.headCount;
  const linear = (path: string, inFeatures: number, outFeatures: number) => ({ path, inFeatures, outFeatures });
  return Array.from({ length: layerCount }, (_, layer) => `model.layers.${layer}`).flatMap((path) => [
    linear(`${path}.self_attn.q_proj`, hiddenSize, hiddenSize),
    linear(`${path}.self_attn.k_proj`, hiddenSize, kvWidth),
    linear(`${path}.self_attn.v_proj`, hiddenSize, kvWidth),
    linear(`${path}.self_attn.o_proj`, hiddenSize, hiddenSize),
    linear(`${path}.mlp.gate_proj`, hiddenSize, intermediateSize),
    linear(`${path}.mlp.up_proj`, hiddenSize, intermediateSize),
    linear(`${path}.mlp.down_proj`, intermediateSize, hiddenSize),
  ]);
}

export function parameterCount(shape: Shape): number {
  const { hiddenSize, layerCount, vocabSize } = shape;
  const linear = projections(shape).reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);
  return linear + 2 * vocabSize * hiddenSize + (2 * layerCount + 1) * hiddenSize;
}

type Sizes = [number, number, number, number, number, number];

function shape(name: string, ...sizes: Sizes): Shape {
  const [hiddenSize, layerCount, headCount, kvHeadCount, intermediateSize, vocabSize] = sizes;
  return { name, hiddenSize, layerCount, headCount, kvHeadCount, intermediateSize, vocabSize };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Neither a name nor JSON: the message below says what is.
  }
  return refuse(`is ${SHAPES.map(({ name }) => name).join(', ')} or a JSON object with ${DIMENSIONS.join(', ')}`);
}

function refuse(reason: string): never {
  throw new LoraxError('OPTION_INVALID', { option: '--shape', reason });
}

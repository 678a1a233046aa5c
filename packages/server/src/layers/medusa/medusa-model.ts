/** A set of draft heads of either version, from its resident weights. */

import type { Projection, Weight } from '../../backend/backend.ts';
import { present } from '../../base/assert.ts';
import { MedusaHead } from './medusa-head.ts';
import { MedusaV1 } from './medusa-v1.ts';
import { MedusaV2 } from './medusa-v2.ts';
import { ResBlock } from './res-block.ts';

export type MedusaModel = MedusaV1 | MedusaV2;

export interface MedusaShape {
  /** 1 brings output layers of its own, 2 shares the base model's. */
  readonly version: 1 | 2;
  readonly headCount: number;
  /** Residual blocks of each head. */
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly vocabSize: number;
}

/** Names under which a slot holds the weights of draft heads. */
export const medusaWeightNames = {
  /** Version 2: all heads' blocks, `[heads * hidden, hidden]` and `[heads * hidden]`. */
  fused: { weight: 'medusa.weight', bias: 'medusa.bias' },
  block: (head: number, layer: number) => ({
    weight: `medusa.${head}.${layer}.weight`,
    bias: `medusa.${head}.${layer}.bias`,
  }),
  output: (head: number) => `medusa.${head}.output`,
} as const;

export function makeMedusaModel(shape: MedusaShape, weights: ReadonlyMap<string, Weight>): MedusaModel {
  const get = (name: string): Weight => present(weights.get(name), name);
  return shape.version === 2 ? makeV2(shape, get) : makeV1(shape, get);
}

function makeV2({ headCount, hiddenSize }: MedusaShape, get: (name: string) => Weight): MedusaV2 {
  const { weight, bias } = medusaWeightNames.fused;
  return new MedusaV2(projection('medusa', get(weight), get(bias), hiddenSize, headCount * hiddenSize));
}

function makeV1(shape: MedusaShape, get: (name: string) => Weight): MedusaV1 {
  const { headCount, layerCount, hiddenSize, vocabSize } = shape;
  const heads = Array.from({ length: headCount }, (_, head) => {
    const blocks = Array.from({ length: layerCount }, (_, layer) => {
      const { weight, bias } = medusaWeightNames.block(head, layer);
      return new ResBlock(projection(`medusa.${head}.${layer}`, get(weight), get(bias), hiddenSize, hiddenSize));
    });
    const name = medusaWeightNames.output(head);
    return new MedusaHead(blocks, projection(name, get(name), undefined, hiddenSize, vocabSize));
  });
  return new MedusaV1(heads);
}

/** No adapter enters it: its path is none of the base model's. */
function projection(
  path: string,
  weight: Weight,
  bias: Weight | undefined,
  inFeatures: number,
  outFeatures: number,
): Projection {
  return { kind: 'linear', path, weight, bias, inFeatures, outFeatures, split: 'gathered' };
}

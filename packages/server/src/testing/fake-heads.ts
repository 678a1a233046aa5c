/** Draft heads of any shape whose weights are on no device: for tests that never run them. */

import type { Weight } from '../backend/backend.ts';
import {
  makeMedusaModel,
  medusaWeightNames,
  type MedusaModel,
  type MedusaShape,
} from '../layers/medusa/medusa-model.ts';

export function fakeHeads(headCount: number, version: MedusaShape['version'] = 2): MedusaModel {
  const shape: MedusaShape = { version, headCount, layerCount: 1, hiddenSize: 8, vocabSize: 16 };
  const { fused, block, output } = medusaWeightNames;
  const ofHeads = Array.from({ length: headCount }, (_, head) => [output(head), ...Object.values(block(head, 0))]);
  const names = [...Object.values(fused), ...ofHeads.flat()];
  return makeMedusaModel(shape, new Map(names.map((name): [string, Weight] => [name, { name, shape: [] }])));
}

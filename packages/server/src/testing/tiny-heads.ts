/** Random Medusa heads for the tiny model, in a folder as training writes them. Their guesses are as good as any. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { Random } from './random.ts';
import { encode, type TinyModel } from './tiny-model.ts';

export interface TinyHeadsOptions {
  readonly headCount: number;
  /** 1 has output layers of its own. */
  readonly version: 1 | 2;
}

export function writeTinyHeads(folder: string, model: TinyModel, { headCount, version }: TinyHeadsOptions): void {
  const { hidden_size: hidden, vocab_size: vocab } = model.config;
  const random = new Random(headCount);
  const tensor = (name: string, ...shape: number[]) => {
    const values = random.normals(
      shape.reduce((product, size) => product * size, 1),
      0,
      0.3,
    );
    return { name, shape, dtype: 'float32' as const, bytes: encode(values, 'float32') };
  };
  const tensors = Array.from({ length: headCount }, (_, head) => [
    tensor(`${head}.0.linear.weight`, hidden, hidden),
    tensor(`${head}.0.linear.bias`, hidden),
    ...(version === 1 ? [tensor(`${head}.1.weight`, vocab, hidden)] : []),
  ]);
  const config = { medusa_num_heads: headCount, medusa_num_layers: 1, version: `${version}` };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeSafetensors(join(folder, 'medusa_lm_head.safetensors'), tensors.flat());
}

/**
 * Writes trained heads as the folder that the server loads: `config.json`, `medusa_lm_head.safetensors`, the course of
 * the training and a model card; with an adapter's files beside them it is a composite. Knows nothing about training.
 */

import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { HeadTrainer } from '../backend/training.ts';
import type { Dtype } from '../weights/tensor-view.ts';
import { narrowFloats } from '../weights/narrow.ts';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { drawCurve } from './curve-svg.ts';
import type { CurvePoint } from './loss-curve.ts';
import { modelCard, type CardFacts } from './model-card.ts';

export const HEADS_FILE = 'medusa_lm_head.safetensors';
const CURVE_IMAGE = 'loss.svg';

export interface MedusaFolderParts {
  readonly trainer: HeadTrainer;
  readonly dtype: Dtype;
  readonly baseModelId: string;
  /** Files of the adapter that the heads were trained over. */
  readonly adapterFiles: readonly string[];
  readonly points: readonly CurvePoint[];
  readonly card: CardFacts;
}

export async function writeMedusaFolder(folder: string, parts: MedusaFolderParts): Promise<void> {
  const { trainer, dtype, points, card } = parts;
  await mkdir(folder, { recursive: true });
  for (const path of parts.adapterFiles) await copyFile(path, join(folder, basename(path)));
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(medusaConfig(parts), undefined, 2)}\n`);
  await writeFile(join(folder, CURVE_IMAGE), drawCurve(points));
  await writeFile(join(folder, 'README.md'), modelCard(card, CURVE_IMAGE));
  // The weights come last: a folder that has them is whole.
  writeSafetensors(
    join(folder, HEADS_FILE),
    trainer.parameters.map(({ name, shape }) => ({
      ...{ name, dtype, shape },
      bytes: () => [narrowFloats(trainer.read(name, 'value'), dtype)],
    })),
  );
}

/** Version 1 has output layers of its own; the version is written as text, as the reference implementation does. */
function medusaConfig({ trainer, baseModelId }: MedusaFolderParts): Record<string, unknown> {
  const { headCount, layerCount, ownOutput } = trainer.shape;
  return {
    medusa_num_heads: headCount,
    medusa_num_layers: layerCount,
    version: ownOutput ? '1' : '2',
    base_model_name_or_path: baseModelId,
  };
}

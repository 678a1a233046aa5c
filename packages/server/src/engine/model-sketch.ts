/**
 * A model without its weights: what its config says and where adapters may enter it. For what has to be known before
 * anything becomes resident. Touches no device.
 */

import type { Backend, EmbeddingTable, Projection } from '../backend/backend.ts';
import { WeightLoader } from '../layers/weight-loader.ts';
import { Decoder } from '../models/decoder.ts';
import { describeModel, type ModelDescription } from '../models/registry.ts';
import { openModelTensors } from '../weights/tensor-folder.ts';
import type { Dtype, TensorFile } from '../weights/tensor-view.ts';

export interface ModelSketch {
  readonly id: string;
  readonly description: ModelDescription;
  readonly places: ReadonlyMap<string, Projection | EmbeddingTable>;
  /** What the matrices are held as. */
  readonly dtype: Dtype;
}

/** Checks names and shapes as loading does. */
export async function sketchModel(modelId: string, folder: string, dtype: Dtype | undefined): Promise<ModelSketch> {
  const description = await describeModel(modelId, folder);
  const file = openModelTensors(folder);
  try {
    const loader = new WeightLoader(NO_DEVICE, file, { modelId, dtype, onLoaded: () => undefined });
    await Decoder.load(loader, description.decoder);
    return { id: modelId, description, places: loader.places, dtype: dtype ?? storedDtype(file) };
  } finally {
    file.dispose();
  }
}

/** A file that mixes types is named after its table. */
export function storedDtype(file: TensorFile): Dtype {
  return file.get('model.embed_tokens.weight')?.dtype ?? 'float32';
}

/** Loads nothing. */
const NO_DEVICE: Pick<Backend, 'loadWeight'> = { loadWeight: async ({ name, shape }) => ({ name, shape }) };

/**
 * The base model, resident: its forward pass, its places for adapters and the file its weights are mapped from.
 * Knows no requests and no adapters.
 */

import type { LowRankFactors } from '../backend/adapters.ts';
import type { Backend, EmbeddingTable, Projection } from '../backend/backend.ts';
import { WeightLoader } from '../layers/weight-loader.ts';
import { Decoder } from '../models/decoder.ts';
import { describeModel, type ModelDescription } from '../models/registry.ts';
import { openModelTensors } from '../weights/tensor-folder.ts';
import type { Dtype, TensorFile } from '../weights/tensor-view.ts';
import { storedDtype, type ModelSketch } from './model-sketch.ts';

export interface BaseModelOptions {
  readonly modelId: string;
  readonly folder: string;
  /** Undefined keeps what is stored. */
  readonly dtype: Dtype | undefined;
  /** By the path of a place: what is added to its weight for good. */
  readonly merged?: ReadonlyMap<string, LowRankFactors> | undefined;
  readonly onProgress: (loadedBytes: number, totalBytes: number) => void;
}

export class BaseModel implements ModelSketch {
  readonly id: string;
  readonly description: ModelDescription;
  readonly decoder: Decoder;
  readonly places: ReadonlyMap<string, Projection | EmbeddingTable>;
  readonly dtype: Dtype;
  readonly #file: TensorFile;

  private constructor(
    id: string,
    description: ModelDescription,
    decoder: Decoder,
    loader: WeightLoader,
    dtype: Dtype,
    file: TensorFile,
  ) {
    this.id = id;
    this.description = description;
    this.decoder = decoder;
    this.places = loader.places;
    this.dtype = dtype;
    this.#file = file;
  }

  static async load(backend: Backend, options: BaseModelOptions): Promise<BaseModel> {
    const { modelId, folder, dtype, merged, onProgress } = options;
    const description = await describeModel(modelId, folder);
    const file = openModelTensors(folder);
    try {
      let loadedBytes = 0;
      const onLoaded = (bytes: number): void => onProgress((loadedBytes += bytes), file.byteLength);
      const loader = new WeightLoader(backend, file, { modelId, dtype, merged, onLoaded });
      const decoder = await Decoder.load(loader, description.decoder);
      return new BaseModel(modelId, description, decoder, loader, dtype ?? storedDtype(file), file);
    } catch (error) {
      file.dispose();
      throw error;
    }
  }

  /** The backend that holds the weights must be disposed before: it reads the mapped file. */
  dispose(): void {
    this.#file.dispose();
  }
}

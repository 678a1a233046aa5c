/**
 * Loads a model's tensors by module path, checks their shapes against what the config promises, and keeps the list of
 * places where adapters may enter. Knows no file format and no architecture.
 */

import { LoraxError } from '../base/errors.ts';
import type { Backend, EmbeddingTable, Projection, Weight } from '../backend/backend.ts';
import { DTYPE_BYTES, elementCount, type Dtype, type TensorFile } from '../weights/tensor-view.ts';

export interface WeightLoaderOptions {
  readonly modelId: string;
  readonly dtype: Dtype | undefined;
  /** Told the bytes of every tensor that became resident. */
  readonly onLoaded: (bytes: number) => void;
}

export class WeightLoader {
  readonly #backend: Backend;
  readonly #tensors: TensorFile;
  readonly #options: WeightLoaderOptions;
  readonly #places = new Map<string, Projection | EmbeddingTable>();

  constructor(backend: Backend, tensors: TensorFile, options: WeightLoaderOptions) {
    this.#backend = backend;
    this.#tensors = tensors;
    this.#options = options;
  }

  /** Every projection and embedding loaded so far, by path. */
  get places(): ReadonlyMap<string, Projection | EmbeddingTable> {
    return this.#places;
  }

  /** A norm's weight or a bias, `[length]`. */
  vector(name: string, length: number): Promise<Weight> {
    return this.#load(name, [length]);
  }

  async linear(path: string, inFeatures: number, outFeatures: number, hasBias: boolean): Promise<Projection> {
    const weight = await this.#load(`${path}.weight`, [outFeatures, inFeatures]);
    const bias = hasBias ? await this.vector(`${path}.bias`, outFeatures) : undefined;
    return this.#keep({ kind: 'linear', path, weight, bias, inFeatures, outFeatures });
  }

  async embedding(path: string, vocabSize: number, hiddenSize: number): Promise<EmbeddingTable> {
    const weight = await this.#load(`${path}.weight`, [vocabSize, hiddenSize]);
    return this.#keep({ kind: 'embedding', path, weight, vocabSize, hiddenSize });
  }

  /** A projection that shares the embedding's table, as tied output layers do; adapters enter it on its own. */
  tied(path: string, table: EmbeddingTable): Projection {
    const { weight, hiddenSize, vocabSize } = table;
    return this.#keep({
      kind: 'linear',
      path,
      weight,
      bias: undefined,
      inFeatures: hiddenSize,
      outFeatures: vocabSize,
    });
  }

  #keep<T extends Projection | EmbeddingTable>(place: T): T {
    this.#places.set(place.path, place);
    return place;
  }

  async #load(name: string, shape: readonly number[]): Promise<Weight> {
    const view = this.#tensors.get(name);
    if (view === undefined) throw this.#invalid(`tensor \`${name}\` is missing`);
    if (view.shape.join() !== shape.join()) {
      throw this.#invalid(
        `tensor \`${name}\` is [${view.shape.join(', ')}], the config asks for [${shape.join(', ')}]`,
      );
    }
    const weight = await this.#backend.loadWeight(view, { dtype: this.#options.dtype });
    this.#options.onLoaded(elementCount(shape) * DTYPE_BYTES[view.dtype]);
    return weight;
  }

  #invalid(reason: string): LoraxError {
    return new LoraxError('MODEL_INVALID', { modelId: this.#options.modelId, reason });
  }
}

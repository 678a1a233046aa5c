/**
 * Loads a model's tensors by module path, checks their shapes against what the config promises, and keeps the list of
 * places where adapters may enter. Knows no file format and no architecture.
 */

import { LoraxError } from '../base/errors.ts';
import type { LowRankFactors } from '../backend/adapters.ts';
import type { Backend, EmbeddingTable, Projection, Split, Weight } from '../backend/backend.ts';
import { DTYPE_BYTES, elementCount, type Dtype, type TensorFile, type TensorView } from '../weights/tensor-view.ts';

export interface WeightLoaderOptions {
  readonly modelId: string;
  readonly dtype: Dtype | undefined;
  /** By module path: what is added to the weights for good. */
  readonly merged?: ReadonlyMap<string, LowRankFactors> | undefined;
  /** Told the bytes of every tensor that became resident. */
  readonly onLoaded: (bytes: number) => void;
}

export class WeightLoader {
  readonly #device: Pick<Backend, 'loadWeight'>;
  readonly #tensors: TensorFile;
  readonly #options: WeightLoaderOptions;
  readonly #places = new Map<string, Projection | EmbeddingTable>();

  constructor(device: Pick<Backend, 'loadWeight'>, tensors: TensorFile, options: WeightLoaderOptions) {
    this.#device = device;
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

  async linear(
    path: string,
    inFeatures: number,
    outFeatures: number,
    hasBias: boolean,
    split: Split,
  ): Promise<Projection> {
    const weight = await this.#loadMatrix(path, [outFeatures, inFeatures], split);
    const bias = hasBias ? await this.vector(`${path}.bias`, outFeatures) : undefined;
    return this.#keep({ kind: 'linear', path, weight, bias, inFeatures, outFeatures, split });
  }

  async embedding(path: string, vocabSize: number, hiddenSize: number): Promise<EmbeddingTable> {
    const weight = await this.#loadMatrix(path, [vocabSize, hiddenSize]);
    return this.#keep({ kind: 'embedding', path, weight, vocabSize, hiddenSize });
  }

  /** A projection that shares the embedding's table, as tied output layers do; adapters enter it on its own. */
  async tied(path: string, table: EmbeddingTable): Promise<Projection> {
    const { hiddenSize, vocabSize } = table;
    const weight = await this.#tiedWeight(path, table);
    return this.#keep({
      kind: 'linear',
      path,
      weight,
      bias: undefined,
      inFeatures: hiddenSize,
      outFeatures: vocabSize,
      split: 'gathered',
    });
  }

  /** The table itself, unless an adapter that is merged in changes one of the two and not the other. */
  async #tiedWeight(path: string, { path: tablePath, weight, vocabSize, hiddenSize }: EmbeddingTable): Promise<Weight> {
    const { merged, dtype } = this.#options;
    if (!merged?.has(path) && !merged?.has(tablePath)) return weight;
    const view = this.#view(`${tablePath}.weight`, [vocabSize, hiddenSize]);
    return this.#device.loadWeight(view, { dtype, merged: merged?.get(path), split: 'gathered' });
  }

  #keep<T extends Projection | EmbeddingTable>(place: T): T {
    this.#places.set(place.path, place);
    return place;
  }

  #loadMatrix(path: string, shape: readonly number[], split?: Split): Promise<Weight> {
    return this.#load(`${path}.weight`, shape, this.#options.merged?.get(path), split);
  }

  async #load(name: string, shape: readonly number[], merged?: LowRankFactors, split?: Split): Promise<Weight> {
    const view = this.#view(name, shape);
    const weight = await this.#device.loadWeight(view, { dtype: this.#options.dtype, merged, split });
    this.#options.onLoaded(elementCount(shape) * DTYPE_BYTES[view.dtype]);
    return weight;
  }

  #view(name: string, shape: readonly number[]): TensorView {
    const view = this.#tensors.get(name);
    if (view === undefined) throw this.#invalid(`tensor \`${name}\` is missing`);
    if (view.shape.join() === shape.join()) return view;
    const reason = `tensor \`${name}\` is [${view.shape.join(', ')}], the config asks for [${shape.join(', ')}]`;
    throw this.#invalid(reason);
  }

  #invalid(reason: string): LoraxError {
    return new LoraxError('MODEL_INVALID', { modelId: this.#options.modelId, reason });
  }
}

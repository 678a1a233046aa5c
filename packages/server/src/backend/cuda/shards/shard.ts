/**
 * One shard of a backend: its parts of the model's weights, of keys and values and of adapters, on a card that it may share.
 * Knows nothing about what the other shards have.
 */

import type { TensorView } from '../../../weights/tensor-view.ts';
import type { AdapterTensors } from '../../adapters.ts';
import type { DraftGraph, Graph, WeightOptions } from '../../backend.ts';
import type { KvShape } from '../../kv.ts';
import type { MatmulPrecision } from '../../precision.ts';
import { AdapterLoader } from '../adapter-loader.ts';
import { AdapterProducts } from '../adapter-products.ts';
import type { CudaAdapterSlot } from '../adapter-slot.ts';
import { Places } from '../adapter-table.ts';
import { Arena } from '../arena.ts';
import { BaseWeights } from '../base-weights.ts';
import { CudaDraftGraph } from '../draft-graph.ts';
import { CudaKvStore } from '../kv-store.ts';
import { Program } from '../program.ts';
import type { RowDevice } from '../row-operations.ts';
import type { SumOverShards } from '../slot-builder.ts';
import { StepGraph } from '../step-graph.ts';
import type { StepInputs } from '../step-inputs.ts';
import type { CudaWeight } from '../weights.ts';
import type { Card } from './card.ts';
import { localAdapter } from './local-adapter.ts';
import { LocalPlaces } from './local-places.ts';
import { shareOf, type ShardPlace } from './shard-place.ts';
import { ShardedDraftGraph } from './sharded-draft-graph.ts';
import { ShardedGraph } from './sharded-graph.ts';
import type { ShardRows } from './sharded-rows.ts';

export class Shard {
  readonly card: Card;
  readonly stepArena: Arena;
  /** Of its own, because a draft goes on from what its step left behind. */
  readonly draftArena: Arena;
  readonly #place: ShardPlace;
  readonly #precision: MatmulPrecision;
  readonly #finishesSums: boolean;
  readonly #local: LocalPlaces;
  readonly #places = new Places();
  readonly #adapters: AdapterLoader;
  readonly #weights: BaseWeights;

  /** `finishesSums` as its collectives do. */
  constructor(card: Card, place: ShardPlace, precision: MatmulPrecision, finishesSums: boolean) {
    this.card = card;
    this.#place = place;
    this.#precision = precision;
    this.#finishesSums = finishesSums;
    this.#local = new LocalPlaces(place);
    this.#adapters = new AdapterLoader(card, this.#places);
    this.stepArena = new Arena(card.device);
    this.draftArena = new Arena(card.device);
    this.#weights = new BaseWeights(card, place);
  }

  /** The shard's part, or a copy of what is not divided. */
  loadWeight(view: TensorView, options: WeightOptions): Promise<CudaWeight> {
    return this.#weights.load(view, options);
  }

  /** As many cells, each with the keys and values of the shard's heads. */
  createKvStore(shape: KvShape): CudaKvStore {
    const { device, stream } = this.card;
    return new CudaKvStore(device, stream, { ...shape, width: shareOf(shape.width, this.#place) });
  }

  adapterBytes(tensors: AdapterTensors): number {
    return this.#adapters.byteLength(localAdapter(tensors, this.#local));
  }

  loadAdapter(tensors: AdapterTensors, sumOverShards: SumOverShards | undefined): Promise<CudaAdapterSlot> {
    return this.#adapters.load(localAdapter(tensors, this.#local), sumOverShards);
  }

  beginProgram(): RowDevice {
    const { device, stream, cublas } = this.card;
    const program = new Program(device, stream);
    const adapters = new AdapterProducts(program, this.#places, this.#precision);
    return { program, cublas, adapters, precision: this.#precision };
  }

  stepGraph(device: RowDevice, inputs: StepInputs, kv: CudaKvStore): Graph {
    const graph = new StepGraph(device, inputs, kv);
    return new ShardedGraph({ graph, ...this.#rowsOf(device) });
  }

  draftGraph(device: RowDevice): DraftGraph {
    const graph = new CudaDraftGraph(device);
    return new ShardedDraftGraph({ graph, ...this.#rowsOf(device) });
  }

  dispose(): void {
    this.draftArena.dispose();
    this.stepArena.dispose();
    this.#weights.dispose();
  }

  #rowsOf({ program }: RowDevice): Omit<ShardRows, 'graph'> {
    return { program, places: this.#local, finishesSums: this.#finishesSums };
  }
}

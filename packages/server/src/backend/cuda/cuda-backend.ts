/**
 * The backend on NVIDIA cards: owns the shards of a model, one where it is not divided, and runs one step at a time while the
 * event loop stays free. Knows no model and no request.
 */

import { allOrNone } from '../../base/all-or-none.ts';
import { assert, present } from '../../base/assert.ts';
import { Owned } from '../../base/owned.ts';
import type { TensorView } from '../../weights/tensor-view.ts';
import type { AdapterSlot, AdapterTensors } from '../adapters.ts';
import type {
  Backend,
  BackendDescription,
  DraftForward,
  Forward,
  StepOptions,
  Weight,
  WeightOptions,
} from '../backend.ts';
import type { KvShape, KvStore } from '../kv.ts';
import type { MatmulPrecision } from '../precision.ts';
import type { DraftOutput, DraftRow, StepOutput, StepSegment } from '../step.ts';
import { architectureName } from './architecture.ts';
import type { DeviceProperties } from './device.ts';
import { CudaDraftOutput } from './draft-output.ts';
import { compileModules, type Compilation, type KernelModules } from './kernel-modules.ts';
import { guardLibraries } from './library-guard.ts';
import type { CudaLibraries } from './libraries.ts';
import { Card } from './shards/card.ts';
import { CardCollectives } from './shards/card-collectives.ts';
import type { Collectives } from './shards/collectives.ts';
import { NcclCollectives } from './shards/nccl-collectives.ts';
import { PeerExchange, reachEachOther } from './shards/peer-exchange.ts';
import { Shard } from './shards/shard.ts';
import { ShardSums } from './shards/shard-sums.ts';
import { SharedCardCollectives } from './shards/shared-card.ts';
import { ShardedKvStore } from './shards/sharded-kv-store.ts';
import { joinSlots, type ShardedSlot } from './shards/sharded-slot.ts';
import { joinParts } from './shards/sharded-weight.ts';
import { writeDraft } from './shards/written-draft.ts';
import { CudaStepOutput } from './step-output.ts';
import { StepPrograms } from './step-programs.ts';
import type { CudaValue } from './values.ts';

export interface CudaOptions extends Compilation {
  readonly libraries: CudaLibraries;
  /** Of each shard the card: another one each, or the same for all. */
  readonly devices: readonly DeviceProperties[];
  readonly precision: MatmulPrecision;
}

/** One thread gives the devices their work. */
const THREADS = 1;

interface LastStep {
  readonly output: CudaStepOutput;
  readonly hidden: readonly (CudaValue | undefined)[];
}

export class CudaBackend implements Backend {
  readonly description: BackendDescription;
  readonly #owned = new Owned();
  readonly #cards: readonly Card[];
  readonly #shards: readonly Shard[];
  readonly #collectives: Collectives;
  readonly #steps: StepPrograms;
  #lastStep: LastStep | undefined;
  #isComputing = false;
  /** Adapters that are freed after the computation in hand. */
  readonly #unloaded: ShardedSlot[] = [];

  private constructor({ devices, precision, ...given }: CudaOptions, modules: ReadonlyMap<string, KernelModules>) {
    const libraries = guardLibraries(given.libraries);
    const owned = this.#owned;
    try {
      const cards = new Map<number, Card>();
      for (const device of devices) {
        const code = present(modules.get(architectureName(device)), 'kernels');
        if (!cards.has(device.index)) cards.set(device.index, owned.add(new Card(libraries, device, code)));
      }
      this.#cards = [...cards.values()];
      this.#collectives = openCollectives(libraries, this.#cards, devices.length, owned);
      const { finishesSums } = this.#collectives;
      this.#shards = devices.map((device, index) => {
        const place = { index, count: devices.length };
        return owned.add(new Shard(cards.get(device.index)!, place, precision, finishesSums));
      });
      this.#steps = owned.add(new StepPrograms({ shards: this.#shards, collectives: this.#collectives }));
      const { version } = this.#firstShard.card.cublas;
      this.description = { library: `cuBLAS ${version}`, device: describeDevices(devices), threads: THREADS };
    } catch (error) {
      owned.dispose();
      throw error;
    }
  }

  /** Throws ENGINE_LIBRARY where a kernel does not compile. Cards of one architecture share what is compiled. */
  static async open(options: CudaOptions): Promise<CudaBackend> {
    const modules = new Map<string, KernelModules>();
    for (const device of options.devices) {
      const name = architectureName(device);
      if (!modules.has(name)) modules.set(name, await compileModules(options.libraries.nvrtc, device, options));
    }
    return new CudaBackend(options, modules);
  }

  /** As much as all shards together may take where each takes the same: what the card with the least room allows. */
  get freeBytes(): number {
    const shares = this.#cards.map((card) => {
      const shardCount = this.#shards.filter((shard) => shard.card === card).length;
      return Math.floor(card.device.freeBytes / shardCount);
    });
    return Math.min(...shares) * this.#shards.length;
  }

  async loadWeight(view: TensorView, options: WeightOptions): Promise<Weight> {
    return joinParts(view, await allOrNone(this.#shards.map((shard) => shard.loadWeight(view, options))));
  }

  createKvStore(shape: KvShape): KvStore {
    return new ShardedKvStore(
      shape,
      this.#shards.map((shard) => () => shard.createKvStore(shape)),
    );
  }

  adapterBytes(tensors: AdapterTensors): number {
    return this.#shards.reduce((sum, shard) => sum + shard.adapterBytes(tensors), 0);
  }

  async loadAdapter(tensors: AdapterTensors): Promise<AdapterSlot> {
    const sums = this.#shards.length > 1 ? new ShardSums(this.#shards.length) : undefined;
    const loading = this.#shards.map(async (shard) => {
      try {
        return await shard.loadAdapter(tensors, sums && ((path, values) => sums.add(path, values)));
      } catch (error) {
        sums?.fail(error);
        throw error;
      }
    });
    return joinSlots(tensors, await allOrNone(loading));
  }

  unloadAdapter(slot: AdapterSlot): void {
    // Freeing waits for the device, and the event loop with it; a step in hand might even never end.
    if (this.#isComputing) this.#unloaded.push(slot as ShardedSlot);
    else (slot as ShardedSlot).dispose();
  }

  runStep(forward: Forward, kv: KvStore, segments: readonly StepSegment[], options: StepOptions): Promise<StepOutput> {
    return this.#exclusively('a step', async () => {
      const begun = performance.now();
      this.#lastStep = undefined;
      const step = this.#steps.give({ forward, kv: kv as ShardedKvStore, segments, options });
      const built = performance.now();
      await this.#finish('a step');
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      const { driver } = this.#firstShard.card.device;
      const output = new CudaStepOutput(driver, step.layout, step.results, times);
      this.#lastStep = { output, hidden: step.hidden };
      return output;
    });
  }

  runDraft(forward: DraftForward, rows: readonly DraftRow[]): Promise<DraftOutput> {
    return this.#exclusively('a draft', async () => {
      const begun = performance.now();
      const { output, hidden } = present(this.#lastStep, 'a step before');
      const chosen = Int32Array.from(rows, (row) => output.outputRow(row.segment, row.output));
      const group = { shards: this.#shards, collectives: this.#collectives };
      const draft = writeDraft(group, forward, { rows, chosen, hidden });
      draft.run(`a draft from ${rows.length} rows`);
      const built = performance.now();
      await this.#finish('a draft');
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      return new CudaDraftOutput(this.#firstShard.card.device.driver, draft.logits, draft.choices, times);
    });
  }

  dispose(): void {
    assert(!this.#isComputing, 'the backend is disposed during a step');
    this.#owned.dispose();
  }

  get #firstShard(): Shard {
    return present(this.#shards[0], 'a shard');
  }

  /** All cards end together but for what each does after the last exchange. */
  async #finish(what: string): Promise<void> {
    for (const { stream } of this.#cards) await stream.finish(what);
  }

  /** One at a time: the devices' memory for values is shared. */
  async #exclusively<T>(what: string, work: () => Promise<T>): Promise<T> {
    assert(!this.#isComputing, `${what} while another computation runs`);
    this.#isComputing = true;
    try {
      return await work();
    } finally {
      this.#isComputing = false;
      for (const slot of this.#unloaded.splice(0)) slot.dispose();
    }
  }
}

/** NCCL knows no two shards on one card, and one card needs no NCCL. */
function openCollectives(
  libraries: CudaLibraries,
  cards: readonly Card[],
  shardCount: number,
  owned: Owned,
): Collectives {
  const first = present(cards[0], 'a card');
  if (cards.length === 1) return new SharedCardCollectives(first.device, first.stream);
  assert(cards.length === shardCount, 'shards have a card each, or all share one');
  const nccl = owned.add(new NcclCollectives(libraries.openNccl(), cards));
  if (!reachEachOther(cards.map(({ device }) => device))) return nccl;
  return new CardCollectives(owned.add(new PeerExchange(cards)), nccl);
}

/** `CUDA 0, 1 (NVIDIA H100 80GB HBM3, sm_90)`. */
function describeDevices(devices: readonly DeviceProperties[]): string {
  const kinds = new Set(devices.map((device) => `${device.name}, ${architectureName(device)}`));
  return `CUDA ${devices.map(({ index }) => index).join(', ')} (${[...kinds].join('; ')})`;
}

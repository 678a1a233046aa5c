/**
 * The backend on one NVIDIA card: owns weights, adapters and the memory of the running step, and runs one step at a time
 * while the event loop stays free. Knows no model and no request.
 */

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
import { AdapterLoader } from './adapter-loader.ts';
import { AdapterProducts } from './adapter-products.ts';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import { Places } from './adapter-table.ts';
import { Arena } from './arena.ts';
import { BaseWeights } from './base-weights.ts';
import { Cublas } from './cublas.ts';
import { CudaDevice, type DeviceProperties } from './device.ts';
import { architectureName } from './kernels.ts';
import { CudaDraftGraph } from './draft-graph.ts';
import { CudaDraftOutput } from './draft-output.ts';
import { CudaKvStore } from './kv-store.ts';
import { guardLibraries } from './library-guard.ts';
import type { CudaLibraries } from './libraries.ts';
import { Program } from './program.ts';
import { chooseTokens } from './row-choices.ts';
import type { RowDevice } from './row-operations.ts';
import { CudaStepOutput } from './step-output.ts';
import { StepPrograms } from './step-programs.ts';
import { Stream } from './stream.ts';
import { Uploader } from './uploader.ts';
import { elementsOf, newValue, type CudaValue } from './values.ts';

export interface CudaOptions {
  readonly libraries: CudaLibraries;
  readonly device: DeviceProperties;
  readonly precision: MatmulPrecision;
  /** Where compiled kernels are kept. */
  readonly cacheFolder: string;
}

/** One thread gives the device its work. */
const THREADS = 1;

export class CudaBackend implements Backend {
  readonly description: BackendDescription;
  readonly #owned = new Owned();
  readonly #device: CudaDevice;
  readonly #precision: MatmulPrecision;
  readonly #stream: Stream;
  readonly #cublas: Cublas;
  readonly #places = new Places();
  readonly #adapters: AdapterLoader;
  readonly #weights: BaseWeights;
  readonly #steps: StepPrograms;
  /** Of its own, because a draft goes on from what its step left behind. */
  readonly #draftArena: Arena;
  #lastStep: CudaStepOutput | undefined;
  #isComputing = false;
  /** Adapters that are freed after the computation in hand. */
  readonly #unloaded: CudaAdapterSlot[] = [];

  constructor({ device, precision, cacheFolder, ...given }: CudaOptions) {
    const libraries = guardLibraries(given.libraries);
    const owned = this.#owned;
    this.#precision = precision;
    try {
      this.#device = owned.add(new CudaDevice(libraries, device, cacheFolder));
      this.#stream = owned.add(new Stream(libraries.driver));
      this.#cublas = owned.add(new Cublas(libraries.cublas, libraries.driver, this.#stream.handle));
      const load = { device: this.#device, uploader: owned.add(new Uploader(this.#device)) };
      this.#adapters = new AdapterLoader(load, this.#places);
      this.#weights = owned.add(new BaseWeights(load));
      const stepArena = owned.add(new Arena(this.#device));
      this.#steps = owned.add(new StepPrograms(stepArena, () => this.#beginProgram()));
      this.#draftArena = owned.add(new Arena(this.#device));
      this.description = {
        library: `cuBLAS ${this.#cublas.version}`,
        device: `CUDA ${device.index} (${device.name}, ${architectureName(device)})`,
        threads: THREADS,
      };
    } catch (error) {
      owned.dispose();
      throw error;
    }
  }

  get freeBytes(): number {
    return this.#device.freeBytes;
  }

  loadWeight(view: TensorView, options: WeightOptions): Promise<Weight> {
    return this.#weights.load(view, options);
  }

  createKvStore(shape: KvShape): KvStore {
    return new CudaKvStore(this.#device, this.#stream, shape);
  }

  adapterBytes(tensors: AdapterTensors): number {
    return this.#adapters.byteLength(tensors);
  }

  loadAdapter(tensors: AdapterTensors): Promise<AdapterSlot> {
    return this.#adapters.load(tensors);
  }

  unloadAdapter(slot: AdapterSlot): void {
    // Freeing waits for the device, and the event loop with it; a step in hand might even never end.
    if (this.#isComputing) this.#unloaded.push(slot as CudaAdapterSlot);
    else (slot as CudaAdapterSlot).dispose();
  }

  runStep(forward: Forward, kv: KvStore, segments: readonly StepSegment[], options: StepOptions): Promise<StepOutput> {
    return this.#exclusively('a step', async () => {
      const begun = performance.now();
      this.#lastStep = undefined;
      const { layout, results } = this.#steps.give({ forward, kv: kv as CudaKvStore, segments, options });
      const built = performance.now();
      await this.#stream.finish('a step');
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      this.#lastStep = new CudaStepOutput(this.#device.driver, layout, results, times);
      return this.#lastStep;
    });
  }

  runDraft(forward: DraftForward, rows: readonly DraftRow[]): Promise<DraftOutput> {
    return this.#exclusively('a draft', async () => {
      const begun = performance.now();
      const step = present(this.#lastStep, 'a step before');
      const device = this.#beginProgram();
      const { program } = device;
      const hidden = this.#gather(program, step, rows);
      const logits = forward(new CudaDraftGraph(device), hidden) as CudaValue;
      const chosen = chooseTokens(program, logits, undefined);
      program.keep(logits.slab);
      program.run(this.#draftArena, `a draft from ${rows.length} rows`);
      const built = performance.now();
      await this.#stream.finish('a draft');
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      return new CudaDraftOutput(this.#device.driver, logits, chosen, times);
    });
  }

  dispose(): void {
    assert(!this.#isComputing, 'the backend is disposed during a step');
    this.#owned.dispose();
  }

  #beginProgram(): RowDevice {
    const program = new Program(this.#device, this.#stream);
    const adapters = new AdapterProducts(program, this.#places, this.#precision);
    return { program, cublas: this.#cublas, adapters, precision: this.#precision };
  }

  /** Hidden states of the step's rows that are drafted from, in their order. */
  #gather(program: Program, step: CudaStepOutput, rows: readonly DraftRow[]): CudaValue {
    const { address, width } = present(step.hiddenRows, 'hidden states of the last step');
    const value = newValue(program, width, { rows: rows.map(({ adapters }) => adapters) });
    const chosen = Int32Array.from(rows, ({ segment, output }) => step.outputRow(segment, output));
    const indices = program.input(chosen.byteLength, () => chosen);
    program.launchOver(elementsOf(value), 'gather_rows', value, address, indices, width);
    return value;
  }

  /** One at a time: the device's memory for values is shared. */
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

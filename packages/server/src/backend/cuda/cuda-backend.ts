/**
 * The backend on one NVIDIA card: owns weights, adapters and the memory of the running step, and runs one step at a time
 * while the event loop stays free. Knows no model and no request.
 */

import { assert, present } from '../../base/assert.ts';
import type { Dtype, TensorView } from '../../weights/tensor-view.ts';
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
import { mergeWeight } from './adapted-rows.ts';
import { AdapterLoader } from './adapter-loader.ts';
import { AdapterProducts } from './adapter-products.ts';
import type { CudaAdapterSlot } from './adapter-slot.ts';
import { Places } from './adapter-table.ts';
import { Cublas } from './cublas.ts';
import { architectureOf, CudaDevice, type DeviceProperties } from './device.ts';
import { CudaDraftGraph } from './draft-graph.ts';
import { CudaDraftOutput } from './draft-output.ts';
import { CudaKvStore } from './kv-store.ts';
import { loadCudaLibraries } from './libraries.ts';
import { reduceRows } from './logits.ts';
import { Arena, Program } from './program.ts';
import type { RowDevice } from './row-operations.ts';
import { StepGraph } from './step-graph.ts';
import { layOutStep } from './step-layout.ts';
import { CudaStepOutput } from './step-output.ts';
import { Stream } from './stream.ts';
import { Uploader } from './uploader.ts';
import { elementsOf, newValue, type CudaValue } from './values.ts';
import { uploadWeight, type CudaWeight } from './weights.ts';

export interface CudaOptions {
  readonly device: DeviceProperties;
  readonly precision: MatmulPrecision;
  /** Where compiled kernels are kept. */
  readonly cacheFolder: string;
}

/** One thread gives the device its work. */
const THREADS = 1;

export class CudaBackend implements Backend {
  readonly description: BackendDescription;
  readonly #device: CudaDevice;
  readonly #precision: MatmulPrecision;
  readonly #stream: Stream;
  readonly #cublas: Cublas;
  readonly #uploader: Uploader;
  readonly #places = new Places();
  readonly #adapters: AdapterLoader;
  readonly #weights: CudaWeight[] = [];
  readonly #stepArena: Arena;
  /** Of its own, because a draft goes on from what its step left behind. */
  readonly #draftArena: Arena;
  #lastStep: CudaStepOutput | undefined;
  #isComputing = false;

  constructor({ device, precision, cacheFolder }: CudaOptions) {
    const libraries = loadCudaLibraries();
    this.#device = new CudaDevice(libraries, device, cacheFolder);
    this.#precision = precision;
    this.#stream = new Stream(libraries.driver);
    this.#cublas = new Cublas(libraries.cublas, libraries.driver, this.#stream.handle);
    this.#uploader = new Uploader(this.#device);
    this.#adapters = new AdapterLoader({ device: this.#device, uploader: this.#uploader }, this.#places);
    this.#stepArena = new Arena(this.#device);
    this.#draftArena = new Arena(this.#device);
    this.description = {
      library: `cuBLAS ${this.#cublas.version}`,
      device: `CUDA ${device.index} (${device.name}, ${architectureOf(device)})`,
      threads: THREADS,
    };
  }

  get freeBytes(): number {
    return this.#device.freeBytes;
  }

  async loadWeight(view: TensorView, options: WeightOptions): Promise<Weight> {
    assert(view.shape.length === 1 || view.shape.length === 2, `${view.name} is a vector or a matrix`);
    const dtype: Dtype = view.shape.length === 1 ? 'float32' : (options.dtype ?? view.dtype);
    const load = { device: this.#device, uploader: this.#uploader };
    const weight = options.merged
      ? await mergeWeight(load, view, options.merged, dtype)
      : await uploadWeight(this.#device, this.#uploader, view, dtype);
    this.#weights.push(weight);
    return weight;
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
    (slot as CudaAdapterSlot).dispose();
  }

  runStep(forward: Forward, kv: KvStore, segments: readonly StepSegment[], options: StepOptions): Promise<StepOutput> {
    return this.#exclusively('a step', async () => {
      const begun = performance.now();
      this.#lastStep = undefined;
      const layout = layOutStep(segments);
      const program = new Program(this.#device, this.#stream);
      const graph = new StepGraph(this.#rowDevice(program), layout, kv as CudaKvStore);
      const hidden = forward.hidden(graph) as CudaValue;
      const logits = forward.logits(graph, hidden) as CudaValue;
      const best = options.reduce ? reduceRows(program, logits) : undefined;
      const kept = options.keepHidden ? hidden : undefined;
      for (const value of [logits, kept]) if (value) program.keep(value.slab);
      program.run(this.#stepArena, `a step of ${layout.tokens.length} rows`);
      const built = performance.now();
      await this.#stream.finish('a step');
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      this.#lastStep = new CudaStepOutput(this.#device.driver, layout, { logits, best, hidden: kept }, times);
      return this.#lastStep;
    });
  }

  runDraft(forward: DraftForward, rows: readonly DraftRow[]): Promise<DraftOutput> {
    return this.#exclusively('a draft', async () => {
      const begun = performance.now();
      const step = present(this.#lastStep, 'a step before');
      const program = new Program(this.#device, this.#stream);
      const hidden = this.#gather(program, step, rows);
      const logits = forward(new CudaDraftGraph(this.#rowDevice(program)), hidden) as CudaValue;
      const best = reduceRows(program, logits);
      program.keep(logits.slab);
      program.run(this.#draftArena, `a draft from ${rows.length} rows`);
      const built = performance.now();
      await this.#stream.finish('a draft');
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      return new CudaDraftOutput(this.#device.driver, logits, best, times);
    });
  }

  dispose(): void {
    assert(!this.#isComputing, 'the backend is disposed during a step');
    this.#draftArena.dispose();
    this.#stepArena.dispose();
    for (const weight of this.#weights) weight.dispose();
    this.#uploader.dispose();
    this.#cublas.dispose();
    this.#stream.dispose();
    this.#device.dispose();
  }

  #rowDevice(program: Program): RowDevice {
    const adapters = new AdapterProducts(program, this.#places);
    return { program, cublas: this.#cublas, adapters, precision: this.#precision };
  }

  /** Hidden states of the step's rows that are drafted from, in their order. */
  #gather(program: Program, step: CudaStepOutput, rows: readonly DraftRow[]): CudaValue {
    const { address, width } = present(step.hiddenRows, 'hidden states of the last step');
    const value = newValue(program, width, { rows: rows.map(({ adapters }) => adapters) });
    const indices = program.input(Int32Array.from(rows, ({ segment, output }) => step.outputRow(segment, output)));
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
    }
  }
}

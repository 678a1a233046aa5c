/**
 * The backend on ggml's CPU device: owns weights, adapters and the graph of the running step, and runs one step at a time
 * on libuv's pool while the event loop stays free. Knows no model and no request.
 */

import { freemem } from 'node:os';
import { assert, present } from '../../base/assert.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { Dtype, TensorView } from '../../weights/tensor-view.ts';
import type { AdapterSlot, AdapterTensors, LowRankFactors } from '../adapters.ts';
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
import type { DraftOutput, DraftRow, StepOutput, StepSegment } from '../step.ts';
import { AdapterLoader } from './adapter-loader.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';
import { DeviceGraph } from './device-graph.ts';
import { Drafts } from './drafts.ts';
import { bindSetThreads, type Ggml } from './functions.ts';
import { GgmlKvStore } from './kv-store.ts';
import { loadGgml } from './library.ts';
import { mergeWeight } from './merged-weight.ts';
import { RotaryTables } from './rotary-tables.ts';
import type { MatmulPrecision } from '../precision.ts';
import { SideGraphs } from './side-graphs.ts';
import { StepGraph } from './step-graph.ts';
import { layOutStep, type StepLayout } from './step-layout.ts';
import { GgmlStepOutput, LogitsBuffer, type OutputTensors } from './step-output.ts';
import { copyWeight, isMappable, mapWeight, type GgmlWeight } from './weights.ts';

export interface GgmlOptions {
  /** Folder of a ggml that the user built; undefined is the npm package. */
  readonly path: string | undefined;
  readonly threads: number;
  readonly precision: MatmulPrecision;
  /** Of drafts; as of steps unless told. */
  readonly draftPrecision?: MatmulPrecision;
}

export class GgmlBackend implements Backend {
  readonly description: BackendDescription;
  readonly #ggml: Ggml;
  readonly #backend: Pointer;
  /** Of its own, so that loading never waits for a step nor a step for loading. */
  readonly #loaderBackend: Pointer;
  readonly #bufferType: Pointer;
  readonly #sideGraphs: SideGraphs;
  readonly #weights: GgmlWeight[] = [];
  readonly #adapters: AdapterLoader;
  readonly #rotaryTables: RotaryTables;
  readonly #logits = new LogitsBuffer();
  readonly #graph: DeviceGraph;
  readonly #drafts: Drafts;
  #lastStep: GgmlStepOutput | undefined;
  #isComputing = false;

  constructor({ path, threads, precision, draftPrecision = precision }: GgmlOptions) {
    const { ggml, version, variant, cpuDevice } = loadGgml(path);
    this.#ggml = ggml;
    const setThreads = bindSetThreads(ggml, ggml.deviceRegistry(cpuDevice));
    this.#backend = ggml.deviceInit(cpuDevice, null);
    setThreads(this.#backend, threads);
    this.#loaderBackend = ggml.deviceInit(cpuDevice, null);
    setThreads(this.#loaderBackend, 1);
    this.#bufferType = ggml.backendBufferType(this.#backend);
    this.#sideGraphs = new SideGraphs(ggml, this.#loaderBackend);
    this.#adapters = new AdapterLoader({ ggml, bufferType: this.#bufferType, graphs: this.#sideGraphs, precision });
    this.#rotaryTables = new RotaryTables(ggml, this.#bufferType);
    const device = { ggml, backend: this.#backend, bufferType: this.#bufferType, precision };
    this.#graph = new DeviceGraph(device);
    this.#drafts = new Drafts({ ...device, precision: draftPrecision });
    this.description = { library: `ggml ${version}`, device: `CPU (${variant ?? 'variant unknown'})`, threads };
  }

  get freeBytes(): number {
    return freemem();
  }

  async loadWeight(view: TensorView, options: WeightOptions): Promise<Weight> {
    assert(view.shape.length === 1 || view.shape.length === 2, `${view.name} is a vector or a matrix`);
    const dtype: Dtype = view.shape.length === 1 ? 'float32' : (options.dtype ?? view.dtype);
    const weight = options.merged
      ? await this.#mergeInto(view, options.merged, dtype)
      : await this.#makeResident(view, dtype);
    this.#weights.push(weight);
    return weight;
  }

  createKvStore(shape: KvShape): KvStore {
    return new GgmlKvStore(this.#ggml, this.#bufferType, shape);
  }

  adapterBytes(tensors: AdapterTensors): number {
    return this.#adapters.byteLength(tensors);
  }

  loadAdapter(tensors: AdapterTensors): Promise<AdapterSlot> {
    return this.#adapters.load(tensors);
  }

  unloadAdapter(slot: AdapterSlot): void {
    this.#adapters.unload(slot as GgmlAdapterSlot);
  }

  runStep(forward: Forward, kv: KvStore, segments: readonly StepSegment[], options: StepOptions): Promise<StepOutput> {
    return this.#exclusively('a step', async () => {
      const begun = performance.now();
      this.#lastStep = undefined;
      const layout = layOutStep(segments);
      const outputs = this.#build(forward, layout, kv as GgmlKvStore, options);
      const built = performance.now();
      await this.#graph.compute();
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      this.#lastStep = new GgmlStepOutput(this.#ggml, layout, outputs, times, this.#logits);
      return this.#lastStep;
    });
  }

  runDraft(forward: DraftForward, rows: readonly DraftRow[]): Promise<DraftOutput> {
    return this.#exclusively('a draft', () =>
      this.#drafts.run(forward, rows, present(this.#lastStep, 'a step before')),
    );
  }

  dispose(): void {
    assert(!this.#isComputing, 'the backend is disposed during a step');
    this.#drafts.dispose();
    this.#graph.dispose();
    this.#rotaryTables.dispose();
    this.#adapters.dispose();
    for (const weight of this.#weights) weight.dispose();
    this.#ggml.backendFree(this.#loaderBackend);
    this.#ggml.backendFree(this.#backend);
  }

  #makeResident(view: TensorView, dtype: Dtype): Promise<GgmlWeight> {
    return isMappable(view, dtype)
      ? mapWeight(this.#ggml, view)
      : copyWeight(this.#ggml, this.#bufferType, view, dtype);
  }

  async #mergeInto(view: TensorView, merged: LowRankFactors, dtype: Dtype): Promise<GgmlWeight> {
    const base = await this.#makeResident(view, view.dtype);
    try {
      const device = { ggml: this.#ggml, bufferType: this.#bufferType, graphs: this.#sideGraphs };
      return await mergeWeight(device, base, merged, dtype);
    } finally {
      base.dispose();
    }
  }

  #build(forward: Forward, layout: StepLayout, kv: GgmlKvStore, options: StepOptions): OutputTensors {
    return this.#graph.build(`a step of ${layout.rows.rowCount} rows`, (context) => {
      const graph = new StepGraph(context, layout, kv, this.#rotaryTables);
      const hidden = forward.hidden(graph);
      return graph.finish(hidden, forward.logits(graph, hidden), options);
    });
  }

  /** One at a time: the device's threads and memory are shared. */
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

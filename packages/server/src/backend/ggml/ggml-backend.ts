/**
 * The backend on ggml's CPU device: owns weights, adapters and the graph of the running step, and runs one step at a time
 * on libuv's pool while the event loop stays free. Knows no model and no request.
 */

import { assert } from '../../base/assert.ts';
import { LoraxError } from '../../base/errors.ts';
import type { Pointer } from '../../native/ffi.ts';
import type { Dtype, TensorView } from '../../weights/tensor-view.ts';
import type { AdapterSlot, AdapterTensors } from '../adapters.ts';
import type { Backend, BackendDescription, Forward, StepOptions, Weight, WeightOptions } from '../backend.ts';
import type { KvShape, KvStore } from '../kv.ts';
import type { StepOutput, StepSegment } from '../step.ts';
import { AdapterLoader } from './adapter-loader.ts';
import type { GgmlAdapterSlot } from './adapter-slot.ts';
import { DoraScales } from './dora.ts';
import { bindSetThreads, type Ggml } from './functions.ts';
import { GraphContext, GraphFull } from './graph-context.ts';
import { GgmlKvStore } from './kv-store.ts';
import { loadGgml } from './library.ts';
import { RotaryTables } from './rotary-tables.ts';
import type { MatmulPrecision } from './products.ts';
import { StepGraph } from './step-graph.ts';
import { layOutStep, type StepLayout } from './step-layout.ts';
import { GgmlStepOutput, LogitsBuffer, type OutputTensors } from './step-output.ts';
import { copyWeight, isMappable, mapWeight, type GgmlWeight } from './weights.ts';

/** Tensors of a step's graph to begin with; doubled whenever a step needs more. */
const FIRST_GRAPH_CAPACITY = 8192;

export interface GgmlOptions {
  /** Folder of a ggml that the user built; undefined is the npm package. */
  readonly path: string | undefined;
  readonly threads: number;
  readonly precision: MatmulPrecision;
}

export class GgmlBackend implements Backend {
  readonly description: BackendDescription;
  readonly #ggml: Ggml;
  readonly #backend: Pointer;
  /** Of its own, so that loading never waits for a step nor a step for loading. */
  readonly #loaderBackend: Pointer;
  readonly #bufferType: Pointer;
  readonly #allocator: Pointer;
  readonly #weights: GgmlWeight[] = [];
  readonly #adapters: AdapterLoader;
  readonly #rotaryTables: RotaryTables;
  readonly #precision: MatmulPrecision;
  readonly #logits = new LogitsBuffer();
  #graphContext: GraphContext;
  #running = false;

  constructor({ path, threads, precision }: GgmlOptions) {
    const { ggml, version, variant, cpuDevice } = loadGgml(path);
    this.#ggml = ggml;
    const setThreads = bindSetThreads(ggml, ggml.deviceRegistry(cpuDevice));
    this.#backend = ggml.deviceInit(cpuDevice, null);
    setThreads(this.#backend, threads);
    this.#loaderBackend = ggml.deviceInit(cpuDevice, null);
    setThreads(this.#loaderBackend, 1);
    this.#bufferType = ggml.backendBufferType(this.#backend);
    this.#allocator = ggml.graphAllocatorNew(this.#bufferType);
    const doraScales = new DoraScales(ggml, this.#loaderBackend);
    this.#adapters = new AdapterLoader({ ggml, bufferType: this.#bufferType, doraScales, precision });
    this.#rotaryTables = new RotaryTables(ggml, this.#bufferType);
    this.#precision = precision;
    this.#graphContext = new GraphContext(ggml, FIRST_GRAPH_CAPACITY, precision);
    this.description = { library: `ggml ${version}`, device: `CPU (${variant ?? 'variant unknown'})`, threads };
  }

  async loadWeight(view: TensorView, options: WeightOptions): Promise<Weight> {
    assert(view.shape.length === 1 || view.shape.length === 2, `${view.name} is a vector or a matrix`);
    const dtype: Dtype = view.shape.length === 1 ? 'float32' : (options.dtype ?? view.dtype);
    const weight = isMappable(view, dtype)
      ? await mapWeight(this.#ggml, view)
      : await copyWeight(this.#ggml, this.#bufferType, view, dtype);
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

  async runStep(
    forward: Forward,
    kv: KvStore,
    segments: readonly StepSegment[],
    options: StepOptions,
  ): Promise<StepOutput> {
    assert(!this.#running, 'two steps at once');
    this.#running = true;
    try {
      const begun = performance.now();
      const layout = layOutStep(segments);
      const outputs = this.#build(forward, layout, kv as GgmlKvStore, options);
      const built = performance.now();
      const status = await this.#ggml.compute(this.#backend, this.#graphContext.graph);
      if (status !== 0) throw new LoraxError('GENERATION', { reason: `the device reported status ${status}` });
      const times = { buildMs: built - begun, computeMs: performance.now() - built };
      return new GgmlStepOutput(this.#ggml, layout, outputs, times, this.#logits);
    } finally {
      this.#running = false;
    }
  }

  dispose(): void {
    assert(!this.#running, 'the backend is disposed during a step');
    this.#graphContext.dispose();
    this.#rotaryTables.dispose();
    this.#adapters.dispose();
    for (const weight of this.#weights) weight.dispose();
    this.#ggml.graphAllocatorFree(this.#allocator);
    this.#ggml.backendFree(this.#loaderBackend);
    this.#ggml.backendFree(this.#backend);
  }

  /** Builds the graph, gives it memory and fills its inputs. */
  #build(forward: Forward, layout: StepLayout, kv: GgmlKvStore, options: StepOptions): OutputTensors {
    for (;;) {
      try {
        return this.#tryBuild(forward, layout, kv, options);
      } catch (error) {
        if (!(error instanceof GraphFull)) throw error;
        const { capacity } = this.#graphContext;
        this.#graphContext.dispose();
        this.#graphContext = new GraphContext(this.#ggml, capacity * 2, this.#precision);
      }
    }
  }

  #tryBuild(forward: Forward, layout: StepLayout, kv: GgmlKvStore, options: StepOptions): OutputTensors {
    const context = this.#graphContext;
    context.begin();
    const graph = new StepGraph(context, layout, kv, this.#rotaryTables);
    const outputs = graph.finish(forward(graph), options.reduce);
    if (!this.#ggml.graphAllocatorAlloc(this.#allocator, context.graph)) {
      throw new LoraxError('OUT_OF_MEMORY', { what: `a step of ${layout.rows.rowCount} rows` });
    }
    context.fillInputs();
    return outputs;
  }
}

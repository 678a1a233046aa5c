/**
 * A backend with hooks, around the real one: tests see every step, hold it, fail it, or say what it answers.
 * Computes nothing itself.
 */

import type { AdapterSlot, AdapterTensors } from '../backend/adapters.ts';
import type {
  Backend,
  BackendDescription,
  DraftForward,
  Forward,
  StepOptions,
  Weight,
  WeightOptions,
} from '../backend/backend.ts';
import type { KvShape, KvStore } from '../backend/kv.ts';
import type { BestToken, DraftOutput, DraftRow, StepOutput, StepSegment } from '../backend/step.ts';
import type { TensorView } from '../weights/tensor-view.ts';

/** How far a token that a test asks for stands above all others. */
const PEAK = 30;

export class WatchedBackend implements Backend {
  /** Runs before each step, which waits for it and fails where it throws. */
  beforeStep: (segments: readonly StepSegment[]) => Promise<void> | void = () => undefined;
  /** The token that follows a segment's last one; NaN spoils its rows, undefined leaves them to the model. */
  nextToken: (segment: StepSegment) => number | undefined = () => undefined;
  /** Runs before each draft, which fails where it throws. */
  beforeDraft: () => void = () => undefined;
  /** Runs before each load of an adapter. */
  beforeLoad: () => Promise<void> | void = () => undefined;
  readonly steps: (readonly StepSegment[])[] = [];
  readonly weights: Weight[] = [];
  loadCount = 0;
  unloadCount = 0;
  readonly #inner: Backend;
  #vocabSize = 0;

  constructor(inner: Backend) {
    this.#inner = inner;
  }

  get description(): BackendDescription {
    return this.#inner.description;
  }

  get freeBytes(): number {
    return this.#inner.freeBytes;
  }

  async runStep(
    forward: Forward,
    kv: KvStore,
    segments: readonly StepSegment[],
    options: StepOptions,
  ): Promise<StepOutput> {
    this.steps.push(segments);
    await this.beforeStep(segments);
    const watched: Forward = {
      hidden: (graph) => forward.hidden(graph),
      logits: (graph, hidden) => {
        const logits = forward.logits(graph, hidden);
        this.#vocabSize = logits.width;
        return logits;
      },
    };
    const output = await this.#inner.runStep(watched, kv, segments, options);
    const wanted = segments.map((segment) => this.nextToken(segment));
    return {
      times: output.times,
      hidden: (segment, row) => output.hidden(segment, row),
      logits: (segment, row) => this.#logits(wanted[segment]) ?? output.logits(segment, row),
      best: (segment, row) => bestOf(wanted[segment]) ?? output.best(segment, row),
      drawn: (segment, row) => (wanted[segment] === undefined ? output.drawn?.(segment, row) : undefined),
    };
  }

  async runDraft(forward: DraftForward, rows: readonly DraftRow[]): Promise<DraftOutput> {
    this.beforeDraft();
    return this.#inner.runDraft(forward, rows);
  }

  adapterBytes(tensors: AdapterTensors): number {
    return this.#inner.adapterBytes(tensors);
  }

  async loadAdapter(tensors: AdapterTensors): Promise<AdapterSlot> {
    this.loadCount++;
    await this.beforeLoad();
    return this.#inner.loadAdapter(tensors);
  }

  unloadAdapter(slot: AdapterSlot): void {
    this.unloadCount++;
    this.#inner.unloadAdapter(slot);
  }

  async loadWeight(view: TensorView, options: WeightOptions): Promise<Weight> {
    const weight = await this.#inner.loadWeight(view, options);
    this.weights.push(weight);
    return weight;
  }

  createKvStore(shape: KvShape): KvStore {
    return this.#inner.createKvStore(shape);
  }

  dispose(): void {
    this.#inner.dispose();
  }

  #logits(token: number | undefined): Float32Array | undefined {
    if (token === undefined) return undefined;
    const logits = new Float32Array(this.#vocabSize);
    if (Number.isNaN(token)) return logits.fill(NaN);
    logits[token] = PEAK;
    return logits;
  }
}

function bestOf(token: number | undefined): BestToken | undefined {
  if (token === undefined) return undefined;
  return Number.isNaN(token) ? { id: 0, logprob: NaN } : { id: token, logprob: -1e-6 };
}

/** A door that a test opens: `pass` waits until then. */
export class Gate {
  readonly #opened: Promise<void>;
  #open: () => void = () => undefined;
  #arrived: () => void = () => undefined;
  /** Resolves when somebody waits at the door. */
  readonly reached: Promise<void>;

  constructor() {
    this.#opened = new Promise((resolve) => (this.#open = resolve));
    this.reached = new Promise((resolve) => (this.#arrived = resolve));
  }

  pass(): Promise<void> {
    this.#arrived();
    return this.#opened;
  }

  open(): void {
    this.#open();
  }
}

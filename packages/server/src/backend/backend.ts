/**
 * The seam between models and devices: what a forward pass may ask of a device, in the field's own operations.
 * Nothing here says how a device lays out memory or which library computes.
 */

import type { TensorView, Dtype } from '../weights/tensor-view.ts';
import type { KvShape, KvStore } from './kv.ts';
import type { AdapterSlot, AdapterTensors, LowRankFactors } from './adapters.ts';
import type { DraftOutput, DraftRow, StepOutput, StepSegment } from './step.ts';

/** A resident tensor of the base model. */
export interface Weight {
  readonly name: string;
  /** As PyTorch prints it: `[out, in]` for a linear layer. */
  readonly shape: readonly number[];
}

/**
 * How a device of several cards may divide a linear layer among them: by `outputs`, each card with a part of the result; by
 * `inputs`, each from such a part of the input to the whole result; `gathered`, by outputs whose parts are put together again.
 */
export type Split = 'outputs' | 'inputs' | 'gathered';

/** A linear layer of the base model together with the adapters that enter it: `y = x W^T + b + adapters(x)`. */
export interface Projection {
  readonly kind: 'linear';
  /** The module's path, under which adapters find it: `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  readonly weight: Weight;
  readonly bias: Weight | undefined;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Undefined is never divided. */
  readonly split?: Split;
}

/** The token table with the adapters that enter it. */
export interface EmbeddingTable {
  readonly kind: 'embedding';
  readonly path: string;
  readonly weight: Weight;
  readonly vocabSize: number;
  readonly hiddenSize: number;
}

/** A value inside one step's graph: `[rows, width]`, float32. Opaque outside its backend. */
export interface Value {
  readonly rows: number;
  readonly width: number;
}

/** Rotary position embedding over pairs `(i, i + headDim / 2)` of each head, as Hugging Face lays weights out. */
export interface Rotary {
  readonly headDim: number;
  /** Angle per position of each pair, `[headDim / 2]`. */
  readonly inverseFrequencies: Float32Array;
  /** Factor on cos and sin (YaRN's attention factor); 1 otherwise. */
  readonly attentionFactor: number;
}

export interface AttentionShape {
  /** Which layer's keys and values. */
  readonly layer: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  /** Factor on the scores, usually `1 / sqrt(headDim)`. */
  readonly scale: number;
  /** A token sees only so many last tokens, itself included; undefined sees all. */
  readonly window: number | undefined;
}

/** Operations that look at each row by itself. Which adapters a row has is the graph's own knowledge. */
export interface RowGraph {
  /** Several projections of one input, which a device may fuse. */
  linear(x: Value, projections: readonly Projection[]): Value[];
  add(a: Value, b: Value): Value;
}

/** The operations of drafting. */
export interface DraftGraph extends RowGraph {
  silu(x: Value): Value;
  /** `count` rows from `first` on. */
  rows(x: Value, first: number, count: number): Value;
  /** The rows of all, one value after the other. */
  stack(values: readonly Value[]): Value;
  /** `x` is `[rows, width]`, `y` `[rows, heads * width]`: each row of `x` added to its heads, `[rows * heads, width]`. */
  addToHeads(x: Value, y: Value): Value;
}

/** The operations of one step. Rows, positions, KV cells and adapters of the step are the graph's own knowledge. */
export interface Graph extends RowGraph {
  /** Embeddings of the step's tokens, `[rows, hidden]`. */
  embed(table: EmbeddingTable): Value;
  /** `x / rms(x) * weight` over the last `weight.length` elements: a whole row, or each head of it. */
  rmsNorm(x: Value, weight: Weight, epsilon: number): Value;
  rotary(x: Value, rotary: Rotary): Value;
  /** Writes `k` and `v` to the step's KV cells, then lets each row of `q` see its sequence up to itself. */
  attention(q: Value, k: Value, v: Value, shape: AttentionShape): Value;
  /** `silu(gate) * up`. */
  gatedSilu(gate: Value, up: Value): Value;
  /** Keeps the rows whose logits the step wants. */
  outputRows(x: Value): Value;
}

/** A model's forward pass in two halves, because drafting goes on from what lies between them. */
export interface Forward {
  /** Hidden states of the step's output rows after the last norm, `[outputs, hidden]`. */
  hidden(graph: Graph): Value;
  /** Logits of these rows, with the adapters that enter them, `[rows, vocab]`. */
  logits(graph: RowGraph, hidden: Value): Value;
}

/** From the hidden states of the rows that are drafted from, in their order, to logits of guessed tokens. */
export type DraftForward = (graph: DraftGraph, hidden: Value) => Value;

export interface BackendDescription {
  /** `ggml 0.25.1`. */
  readonly library: string;
  /** The device or the variant in use: `CPU (sapphirerapids)`. */
  readonly device: string;
  readonly threads: number;
}

export interface WeightOptions {
  /** Undefined keeps what is stored. Vectors (norms, biases) are always held in float32. */
  readonly dtype: Dtype | undefined;
  /** Of the linear layer whose matrix it is. */
  readonly split?: Split | undefined;
  /** Added to a matrix before it becomes resident, its rows then brought to the magnitudes where there are any. */
  readonly merged?: LowRankFactors | undefined;
}

export interface Backend {
  readonly description: BackendDescription;
  /** Memory that weights, adapters, keys and values may still take. */
  readonly freeBytes: number;
  /** Makes a tensor resident; mapped files are used in place where the device can. */
  loadWeight(view: TensorView, options: WeightOptions): Promise<Weight>;
  createKvStore(shape: KvShape): KvStore;
  /** Device memory that `loadAdapter` would take at most, in bytes. */
  adapterBytes(tensors: AdapterTensors): number;
  /** Makes an adapter's tensors resident, beside other loads. Steps go on meanwhile; the slot may be used from the next step. */
  loadAdapter(tensors: AdapterTensors): Promise<AdapterSlot>;
  /** Frees a slot that no step uses any more. */
  unloadAdapter(slot: AdapterSlot): void;
  /** Runs one step. One at a time; the output is valid until the next. */
  runStep(forward: Forward, kv: KvStore, segments: readonly StepSegment[], options: StepOptions): Promise<StepOutput>;
  /** Drafts from rows of the last step, which kept its hidden states. The output is valid until the next draft. */
  runDraft(forward: DraftForward, rows: readonly DraftRow[]): Promise<DraftOutput>;
  dispose(): void;
}

export interface StepOptions {
  /** Also reduce each output row to its best token and that token's log-probability. */
  readonly reduce: boolean;
  /** Keep the output rows' hidden states until the next step, for drafts and for `StepOutput.hidden`. */
  readonly keepHidden: boolean;
}

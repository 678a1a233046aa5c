/** An adapter as a device sees it: low-rank factors and replacements at places of the model. Knows no file format, no PEFT. */

import type { TensorView } from '../weights/tensor-view.ts';
import type { EmbeddingTable, Projection, Weight } from './backend.ts';

/** `scale * B A`, a change of some weight `[out, in]`. */
export interface LowRankFactors {
  readonly rank: number;
  readonly scale: number;
  /** `[rank, in]`. */
  readonly a: TensorView;
  /** `[out, rank]`. */
  readonly b: TensorView;
  /** DoRA's magnitude `[out]`: the row norms that the adapted weight is brought to. */
  readonly magnitude: TensorView | undefined;
}

/** `delta(x) = scale * B (A x)` at one projection; at the embedding, whose input is a token, A is `[rank, vocab]`. */
export interface LowRankTensors extends LowRankFactors {
  readonly at: Projection | EmbeddingTable;
  /** Bias of B, `[out]`, scaled as the product is. */
  readonly bias: TensorView | undefined;
}

/** A whole weight, or a bias, that takes the place of the base model's. */
export interface ReplacementTensors {
  readonly at: Projection | EmbeddingTable;
  /** `[out, in]`; for an embedding `[vocab, hidden]`. Undefined keeps the base weight. */
  readonly weight: TensorView | undefined;
  /** `[out]`. Undefined keeps the base bias. */
  readonly bias: TensorView | undefined;
}

export interface AdapterTensors {
  readonly lowRank: readonly LowRankTensors[];
  readonly replacements: readonly ReplacementTensors[];
  /** Weights of its own that enter the model nowhere, by name: those of draft heads. */
  readonly weights: readonly TensorView[];
}

/** A resident adapter. Opaque outside its backend. */
export interface AdapterSlot {
  /** Device memory that the slot holds. */
  readonly byteLength: number;
  /** Those of its own, by name; valid until the slot is unloaded. */
  readonly weights: ReadonlyMap<string, Weight>;
}

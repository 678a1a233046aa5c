/**
 * The seam between the trainer of Medusa heads and devices: what is trained, one batch's inputs, what comes out of it.
 * Nothing here says how a device computes; learning-rate schedules, data and files are the caller's.
 */

import type { Projection } from './backend.ts';

/** A row that a head has nothing to learn from, as PyTorch's cross-entropy names it. */
export const IGNORED_LABEL = -100;

/**
 * Each head is a stack of `x + SiLU(W x + b)` blocks with an output layer behind it: the base model's own, frozen, or
 * one of the head's own that starts as a copy of it.
 */
export interface HeadsShape {
  readonly headCount: number;
  /** Blocks of each head. */
  readonly layerCount: number;
  readonly ownOutput: boolean;
  readonly hiddenSize: number;
  readonly vocabSize: number;
}

export interface HeadsOptions extends Pick<HeadsShape, 'headCount' | 'layerCount' | 'ownOutput'> {
  /** The base model's; it must stay resident for as long as the trainer lives. */
  readonly outputLayer: Projection;
}

export interface HeadBatch {
  /** Of the base model after its last norm, `[rows, hidden]`. */
  readonly hidden: Float32Array;
  /** By head, `[rows]` each: the token that the head should guess, or `IGNORED_LABEL`. */
  readonly labels: readonly Int32Array[];
}

/** Over one head's labelled rows. */
export interface HeadScore {
  /** Cross-entropies in nats, summed. */
  readonly lossSum: number;
  readonly count: number;
  /** Rows whose label had the largest logit, or one of the five largest. */
  readonly top1: number;
  readonly top5: number;
}

/** One update of AdamW (arXiv 1711.05101): biases do not decay. */
export interface AdamWUpdate {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

export interface HeadParameter {
  /** As Medusa files name it: `{head}.{layer}.linear.weight`, `.bias`, or `{head}.{layers}.weight` for an own output. */
  readonly name: string;
  /** As PyTorch prints it. */
  readonly shape: readonly number[];
}

/** What a parameter consists of while it is trained; the moments are AdamW's running means. */
export type ParameterPart = 'value' | 'gradient' | 'firstMoment' | 'secondMoment';

export interface HeadTrainer {
  readonly shape: HeadsShape;
  readonly parameters: readonly HeadParameter[];
  /** Updates so far. Set when a state is restored: AdamW's bias correction counts them. */
  updateCount: number;
  /** Adds the gradient of `sum over heads of weight[head] * lossSum` to what has gathered since the last update. */
  accumulate(batch: HeadBatch, weights: readonly number[]): Promise<readonly HeadScore[]>;
  evaluate(batch: HeadBatch): Promise<readonly HeadScore[]>;
  /** Moves the parameters by the gathered gradients and clears those. */
  update(update: AdamWUpdate): Promise<void>;
  /** A copy, row-major. */
  read(name: string, part: ParameterPart): Float32Array;
  write(name: string, part: ParameterPart, values: Float32Array): void;
  dispose(): void;
}

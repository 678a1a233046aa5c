/** What one step computes: rows grouped by sequence, and the logits that come back. Knows nothing about requests. */

import type { AdapterSlot } from './adapters.ts';

/** An adapter's products times a factor; 1 is the adapter as it was trained. */
export interface WeightedSlot {
  readonly slot: AdapterSlot;
  readonly weight: number;
}

/** The usual case: one adapter as it was trained, or none. */
export function oneSlot(slot: AdapterSlot | undefined): readonly WeightedSlot[] {
  return slot === undefined ? [] : [{ slot, weight: 1 }];
}

/** What a draw from a row's logits depends on, beside the logits. */
export interface Draw {
  /** Above 0. */
  readonly temperature: number;
  /** Only the so many best scores and what ties with the last of them; 0 is off. */
  readonly topK: number;
  /** Then only the fewest of the likeliest that reach this probability; 1 is off. */
  readonly topP: number;
  /** For each of the segment's last rows a number in [0, 1): where in the cumulative distribution its token lies. */
  readonly uniforms: readonly number[];
}

/** Tokens of one sequence: a chunk of its prompt, or its last token and what is drafted after it. */
export interface StepSegment {
  readonly tokens: readonly number[];
  /** Which row of the segment each row follows, the first none (-1); undefined where each follows the one before. */
  readonly parents?: readonly number[];
  /** Position of the first token in its sequence. */
  readonly position: number;
  /** First cell of the sequence's span; row i of the segment goes to cell `firstCell + position + i`. */
  readonly firstCell: number;
  /** All of them enter every row of the segment; rows without any are the bare base model. */
  readonly adapters: readonly WeightedSlot[];
  /** How many of the last rows need logits. */
  readonly outputCount: number;
  /** A device that can do it draws tokens after output rows; undefined where there is nothing to draw. */
  readonly draw?: Draw | undefined;
}

export interface BestToken {
  readonly id: number;
  /** Natural logarithm of its probability under the unprocessed logits. */
  readonly logprob: number;
}

export interface DrawnToken {
  readonly id: number;
  /** Natural logarithm of its probability among the tokens that it was drawn from, in single precision. */
  readonly logprob: number;
}

/** Results of a step, addressed by segment and by output row within the segment. Valid until the next step. */
export interface StepOutput {
  /** `[vocab]`. Read it, never write it: the next caller gets the same values. */
  logits(segment: number, output: number): Float32Array;
  /** Only where the step was asked to reduce. */
  best(segment: number, output: number): BestToken;
  /**
   * What was drawn after a row that has a uniform number: the token that `Candidates` would draw. Undefined where that could
   * be another one but for rounding: the row's logits decide. Only devices that draw have it.
   */
  drawn?(segment: number, output: number): DrawnToken | undefined;
  /** After the last norm, `[hidden]`; only where the step kept them. A copy of the caller's own. */
  hidden(segment: number, output: number): Float32Array;
  readonly times: StepTimes;
}

/** An output row of the last step that is drafted from. */
export interface DraftRow {
  readonly segment: number;
  readonly output: number;
  /** What enters the rows of its heads, at the output layer above all. */
  readonly adapters: readonly WeightedSlot[];
}

/** Logits of a draft, by the rows of its value. Valid until the next draft. */
export interface DraftOutput {
  best(row: number): BestToken;
  /** `[vocab]`. Read it, never write it. */
  logits(row: number): Float32Array;
  readonly times: StepTimes;
}

/** In milliseconds. */
export interface StepTimes {
  readonly buildMs: number;
  readonly computeMs: number;
}

/**
 * One running sequence: its tokens, its KV span, how far it is computed, and the choice of its next token from a step's
 * logits. Knows nothing about text, requests or other sequences.
 */

import { LoraxError } from '../base/errors.ts';
import type { StepOutput, StepSegment, WeightedSlot } from '../backend/step.ts';
import type { KvSpan } from './kv-cache.ts';
import { logProbability, requireFinite } from './sampling/log-softmax.ts';
import type { ScoredToken } from './sampling/candidates.ts';
import type { Sampler } from './sampling/sampler.ts';
import type { TokenHistory } from './sampling/token-history.ts';

export interface SequenceOptions {
  readonly history: TokenHistory;
  readonly span: KvSpan;
  /** What enters all of its rows; none is the bare base model. */
  readonly adapters: readonly WeightedSlot[];
  readonly sampler: Sampler;
  /** The device's own best token is the answer; its logits need not be read. */
  readonly isPlainGreedy: boolean;
  /** Alternatives wanted per token. */
  readonly alternatives: number;
  readonly promptLogprobs: boolean;
}

export interface ChosenToken {
  readonly id: number;
  readonly logprob: number;
  readonly alternatives: readonly ScoredToken[];
}

/** What a step brought a sequence. */
export interface SequenceAdvance {
  /** Log-probabilities of prompt tokens that the step computed, in order; the first token has none. */
  readonly promptLogprobs: readonly number[];
  /** Undefined while the prompt is not through. */
  readonly chosen: ChosenToken | undefined;
}

export class Sequence {
  readonly span: KvSpan;
  readonly #options: SequenceOptions;
  /** Tokens whose keys and values are in their cells. */
  #computedLen = 0;
  /** Tokens of the segment that is being computed. */
  #segmentLen = 0;

  constructor(options: SequenceOptions) {
    this.#options = options;
    this.span = options.span;
  }

  get isPrefilling(): boolean {
    return this.#computedLen < this.#options.history.promptLen;
  }

  /** Tokens that are not computed yet: what is left of the prompt, or the last chosen token. */
  get pendingLen(): number {
    return this.#options.history.length - this.#computedLen;
  }

  /** Whether the device should reduce this sequence's logits. */
  get wantsReduction(): boolean {
    return this.#options.isPlainGreedy && this.#options.alternatives === 0;
  }

  /** The next rows, at most `budget` of them; `advance` must follow once they are computed. */
  nextSegment(budget: number): StepSegment {
    const { history, adapters, promptLogprobs, span } = this.#options;
    const position = this.#computedLen;
    const tokens = history.tokens.slice(position, Math.min(history.length, position + budget));
    this.#segmentLen = tokens.length;
    const isLast = position + tokens.length === history.length;
    const outputCount = promptLogprobs && this.isPrefilling ? tokens.length : Number(isLast);
    return { tokens, position, firstCell: span.firstCell, adapters, outputCount };
  }

  /** Takes the results of the segment that `nextSegment` gave. Throws GENERATION where they are not finite. */
  advance(output: StepOutput, segment: number): SequenceAdvance {
    const { history } = this.#options;
    const promptLogprobs = this.#readPromptLogprobs(output, segment);
    const lastOutput = this.#options.promptLogprobs && this.isPrefilling ? this.#segmentLen - 1 : 0;
    this.#computedLen += this.#segmentLen;
    const chosen = this.#computedLen === history.length ? this.#choose(output, segment, lastOutput) : undefined;
    return { promptLogprobs, chosen };
  }

  #choose(output: StepOutput, segment: number, row: number): ChosenToken {
    const { sampler, history, alternatives } = this.#options;
    if (!this.wantsReduction) return sampler.choose(output.logits(segment, row), history, alternatives);
    const { id, logprob } = output.best(segment, row);
    if (!Number.isFinite(logprob)) throw new LoraxError('GENERATION', { reason: 'the logits are not finite' });
    return { id, logprob, alternatives: [] };
  }

  /** Row i of a chunk predicts the prompt token after it; the prompt's last row predicts what is generated. */
  #readPromptLogprobs(output: StepOutput, segment: number): number[] {
    const { history, promptLogprobs } = this.#options;
    if (!promptLogprobs || !this.isPrefilling) return [];
    const end = Math.min(this.#computedLen + this.#segmentLen, history.promptLen - 1);
    return Array.from({ length: Math.max(0, end - this.#computedLen) }, (_, row) => {
      const logits = output.logits(segment, row);
      requireFinite(logits);
      return logProbability(logits, history.tokens[this.#computedLen + row + 1]!);
    });
  }
}

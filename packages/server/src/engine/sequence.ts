/**
 * One running sequence: its tokens, its KV span, how far it is computed, and the choice of its next tokens from a step's
 * logits, with or without a draft. Knows nothing about text, requests or other sequences.
 */

import { assert } from '../base/assert.ts';
import { LoraxError } from '../base/errors.ts';
import type { CellMove } from '../backend/kv.ts';
import { rowDepths } from '../backend/row-depths.ts';
import type { BestToken, Draw, DrawnToken, StepOutput, StepSegment, WeightedSlot } from '../backend/step.ts';
import { Draft, ROOT } from './drafting/draft.ts';
import type { KvSpan } from './kv-cache.ts';
import type { ChosenBy } from './sampling/chosen-by.ts';
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
  /** Where that is the device, logits need not be read. */
  readonly chosenBy: ChosenBy;
  /** Alternatives wanted per token. */
  readonly alternatives: number;
  readonly promptLogprobs: boolean;
  /** Tokens that it may generate. */
  readonly maxNewTokens: number;
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
  /** Drafted tokens that were right, then one more; none while the prompt is not through. */
  readonly chosen: readonly ChosenToken[];
  /** Output row of the segment that the last token was chosen from. */
  readonly lastOutput: number;
  /** Accepted rows of a tree that have to close up before the next step. */
  readonly cellMoves: readonly CellMove[];
}

const NO_DRAFT = Draft.chain([]);

export class Sequence {
  readonly span: KvSpan;
  readonly #options: SequenceOptions;
  /** Tokens whose keys and values are in their cells. */
  #computedLen = 0;
  /** Prompt tokens of the segment that is being computed. */
  #segmentLen = 0;
  #draft = NO_DRAFT;

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
    return this.#options.chosenBy === 'arg-max';
  }

  /** The prompt's and the chosen tokens, a live view. */
  get tokens(): readonly number[] {
    return this.#options.history.tokens;
  }

  get adapters(): readonly WeightedSlot[] {
    return this.#options.adapters;
  }

  /** How many tokens a draft may have: one more is chosen in any case, and all of them need cells. */
  get draftRoom(): number {
    const { history, maxNewTokens } = this.#options;
    const left = maxNewTokens - (history.length - history.promptLen);
    return Math.max(0, Math.min(left - 1, this.span.length - history.length));
  }

  /** What the next segment verifies, beside the last token. Its rows lie in the sequence's own cells. */
  propose(draft: Draft): void {
    assert(!this.isPrefilling && this.pendingLen === 1, 'a draft follows a chosen token');
    assert(draft.length <= this.draftRoom, 'a draft fits what its sequence may still generate');
    this.#draft = draft;
  }

  /** The next rows: at most `budget` tokens of the prompt, or the last token and its draft. */
  nextSegment(budget: number): StepSegment {
    return this.isPrefilling ? this.#promptSegment(budget) : this.#decodeSegment();
  }

  /** Takes the results of the segment that `nextSegment` gave. Throws GENERATION where they are not finite. */
  advance(output: StepOutput, segment: number): SequenceAdvance {
    return this.isPrefilling ? this.#advancePrompt(output, segment) : this.#verify(output, segment);
  }

  #promptSegment(budget: number): StepSegment {
    const { history, adapters, promptLogprobs, span } = this.#options;
    const position = this.#computedLen;
    const tokens = history.tokens.slice(position, Math.min(history.length, position + budget));
    this.#segmentLen = tokens.length;
    const isLast = position + tokens.length === history.length;
    const outputCount = promptLogprobs ? tokens.length : Number(isLast);
    const draw = isLast ? this.#drawAt([history.length]) : undefined;
    return { tokens, position, firstCell: span.firstCell, adapters, outputCount, draw };
  }

  #decodeSegment(): StepSegment {
    const { history, adapters, span } = this.#options;
    const { tokens: drafted, parents, isChain } = this.#draft;
    const rows = {
      tokens: [history.last!, ...drafted],
      ...(!isChain && { parents: [-1, ...parents.map((parent) => parent + 1)] }),
    };
    return {
      ...rows,
      position: this.#computedLen,
      firstCell: span.firstCell,
      adapters,
      outputCount: 1 + drafted.length,
      draw: this.#drawAt(rowDepths(rows).map((depth) => history.length + depth)),
    };
  }

  /** What the device draws by, where it chooses the tokens at these positions. */
  #drawAt(positions: readonly number[]): Draw | undefined {
    const { chosenBy, sampler } = this.#options;
    return chosenBy === 'draw' ? sampler.drawAt(positions) : undefined;
  }

  #advancePrompt(output: StepOutput, segment: number): SequenceAdvance {
    const { history } = this.#options;
    const promptLogprobs = this.#readPromptLogprobs(output, segment);
    const lastOutput = this.#options.promptLogprobs ? this.#segmentLen - 1 : 0;
    this.#computedLen += this.#segmentLen;
    const isThrough = this.#computedLen === history.length;
    const chosen = isThrough ? [this.#take(output, segment, lastOutput)] : [];
    return { promptLogprobs, chosen, lastOutput, cellMoves: [] };
  }

  /**
   * Chooses the token after each row that is known to be right, beginning with the last token's own, for as long as the
   * choice is what was drafted there. Every choice is made as without a draft, so that drafting changes no answer.
   */
  #verify(output: StepOutput, segment: number): SequenceAdvance {
    const draft = this.#draft;
    this.#draft = NO_DRAFT;
    const chosen: ChosenToken[] = [];
    const rows: number[] = [];
    for (let at: number | undefined = ROOT; at !== undefined; at = draft.childOf(at, chosen.at(-1)!.id)) {
      chosen.push(this.#take(output, segment, at + 1));
      rows.push(at + 1);
    }
    const first = this.span.firstCell + this.#computedLen;
    const cellMoves = rows.flatMap((row, i) => (row === i ? [] : { from: first + row, to: first + i }));
    this.#computedLen += rows.length;
    return { promptLogprobs: [], chosen, lastOutput: rows.at(-1)!, cellMoves };
  }

  #take(output: StepOutput, segment: number, row: number): ChosenToken {
    const token = this.#choose(output, segment, row);
    this.#options.history.push(token.id);
    return token;
  }

  #choose(output: StepOutput, segment: number, row: number): ChosenToken {
    const { sampler, history, alternatives } = this.#options;
    const token = this.#chosenOnDevice(output, segment, row);
    if (token === undefined) return sampler.choose(output.logits(segment, row), history, alternatives);
    const { id, logprob } = token;
    if (!Number.isFinite(logprob)) throw new LoraxError('GENERATION', { reason: 'the logits are not finite' });
    return { id, logprob, alternatives: [] };
  }

  #chosenOnDevice(output: StepOutput, segment: number, row: number): BestToken | DrawnToken | undefined {
    const { chosenBy } = this.#options;
    if (chosenBy === 'sampler') return undefined;
    return chosenBy === 'draw' ? output.drawn?.(segment, row) : output.best(segment, row);
  }

  /** Row i of a chunk predicts the prompt token after it; the prompt's last row predicts what is generated. */
  #readPromptLogprobs(output: StepOutput, segment: number): number[] {
    const { history, promptLogprobs } = this.#options;
    if (!promptLogprobs) return [];
    const end = Math.min(this.#computedLen + this.#segmentLen, history.promptLen - 1);
    return Array.from({ length: Math.max(0, end - this.#computedLen) }, (_, row) => {
      const logits = output.logits(segment, row);
      requireFinite(logits);
      return logProbability(logits, history.tokens[this.#computedLen + row + 1]!);
    });
  }
}

/**
 * A request from the queue to its last token: owns its sequence, its text, its channel and what must be given back.
 * Knows nothing about other requests.
 */

import { LoraxError } from '../base/errors.ts';
import { Channel } from '../base/channel.ts';
import type { WeightedSlot } from '../backend/step.ts';
import { SequenceDrafter, type DrafterOptions } from '../engine/drafting/sequence-drafter.ts';
import type { KvSpan } from '../engine/kv-cache.ts';
import { isSampling } from '../engine/sampling/params.ts';
import { chosenBy } from '../engine/sampling/chosen-by.ts';
import type { Sampler } from '../engine/sampling/sampler.ts';
import { TokenHistory } from '../engine/sampling/token-history.ts';
import { Sequence, type ChosenToken, type SequenceAdvance } from '../engine/sequence.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { FinishReason, GenerationEvent, GenerationRequest, PromptToken } from './request.ts';
import { TextStream } from './text-stream.ts';

/** How a request's tokens are guessed ahead. */
export type RequestDrafting = Omit<DrafterOptions, 'sequence'>;

export interface AcceptedRequest {
  readonly request: GenerationRequest;
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  readonly adapters: readonly WeightedSlot[];
  /** Undefined drafts nothing. */
  readonly drafting: RequestDrafting | undefined;
  readonly receivedAt: number;
  readonly signal: AbortSignal;
  /** Gives back what was taken for the request: its adapter's lease, its permit. */
  readonly release: () => void;
}

export class RunningRequest {
  readonly events: Channel<GenerationEvent> = new Channel(() => (this.#isAbandoned = true));
  readonly prompt: PromptToken[] = [];
  /** KV cells it may come to need. The last token is chosen, never computed. */
  readonly cellCount: number;
  readonly #accepted: AcceptedRequest;
  readonly #tokenizer: Pick<Tokenizer, 'decode' | 'isSpecial'>;
  readonly #eosTokenIds: ReadonlySet<number>;
  readonly #history: TokenHistory;
  readonly #text: TextStream;
  readonly #queuedAt = performance.now();
  #startedAt = 0;
  #firstTokenAt: number | undefined;
  #sequence: Sequence | undefined;
  #generatedCount = 0;
  #skippedCount = 0;
  #isAbandoned = false;
  #isFinished = false;

  constructor(accepted: AcceptedRequest, tokenizer: Tokenizer, eosTokenIds: ReadonlySet<number>) {
    const { promptIds, maxNewTokens, request } = accepted;
    this.#accepted = accepted;
    this.#tokenizer = tokenizer;
    this.#eosTokenIds = eosTokenIds;
    this.#history = new TokenHistory(promptIds);
    this.#text = new TextStream(tokenizer, promptIds, request.stop);
    this.cellCount = promptIds.length + Math.max(0, maxNewTokens - 1);
    if (request.promptLogprobs) this.#addPromptToken(null);
  }

  /** The caller went away, or asked to stop. */
  get isCancelled(): boolean {
    return this.#isAbandoned || this.#accepted.signal.aborted;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  get sequence(): Sequence | undefined {
    return this.#sequence;
  }

  /** Gives the request its cells; from here on it takes part in steps. */
  start(span: KvSpan, sampler: Sampler): Sequence {
    const { request, adapters } = this.#accepted;
    this.#startedAt = performance.now();
    this.#sequence = new Sequence({
      history: this.#history,
      span,
      adapters,
      sampler,
      chosenBy: chosenBy(request.sampling, request.alternatives),
      alternatives: request.alternatives,
      promptLogprobs: request.promptLogprobs,
      maxNewTokens: this.#accepted.maxNewTokens,
    });
    return this.#sequence;
  }

  makeDrafter(sequence: Sequence): SequenceDrafter | undefined {
    const { drafting } = this.#accepted;
    return drafting && new SequenceDrafter({ ...drafting, sequence });
  }

  /** Takes a step's results and tells the caller. What was drafted behind the end is nobody's. */
  advance({ promptLogprobs, chosen }: SequenceAdvance): void {
    for (const logprob of promptLogprobs) this.#addPromptToken(logprob);
    for (const [i, token] of chosen.entries()) {
      if (this.#isFinished) return;
      this.#emit(token, i > 0);
    }
  }

  #emit(chosen: ChosenToken, skipped: boolean): void {
    if (this.#accepted.maxNewTokens === 0) return this.#finish('length');
    this.#firstTokenAt ??= performance.now();
    this.#generatedCount++;
    if (skipped) this.#skippedCount++;
    const ended = this.#endedBy(chosen.id);
    const { token, stopped } = this.#text.push(chosen, { isLast: ended !== undefined, skipped });
    this.events.send({ kind: 'token', token });
    const reason = stopped && ended !== 'eos_token' ? 'stop_sequence' : ended;
    if (reason !== undefined) this.#finish(reason);
  }

  /** Ends the request with an error instead of a result. */
  fail(error: unknown): void {
    if (this.#isFinished) return;
    const answer =
      error instanceof LoraxError
        ? error
        : new LoraxError('GENERATION', { reason: 'an internal fault' }, { cause: error });
    this.#isFinished = true;
    this.#accepted.release();
    this.events.fail(answer);
  }

  /** Ends a request whose caller is gone: nobody reads the channel any more. */
  cancel(): void {
    this.fail(this.#accepted.signal.reason ?? new LoraxError('INCOMPLETE_GENERATION'));
  }

  #endedBy(id: number): FinishReason | undefined {
    const { request, maxNewTokens } = this.#accepted;
    if (this.#eosTokenIds.has(id) && !request.ignoreEos) return 'eos_token';
    return this.#generatedCount >= maxNewTokens ? 'length' : undefined;
  }

  #finish(finishReason: FinishReason): void {
    const { request, receivedAt } = this.#accepted;
    const now = performance.now();
    this.#isFinished = true;
    this.#accepted.release();
    this.events.send({
      kind: 'end',
      result: {
        finishReason,
        text: this.#text.text,
        generatedTokens: this.#generatedCount,
        skippedTokens: this.#skippedCount,
        seed: isSampling(request.sampling) ? request.sampling.seed : undefined,
      },
      times: {
        validationMs: this.#queuedAt - receivedAt,
        queueMs: this.#startedAt - this.#queuedAt,
        inferenceMs: now - this.#startedAt,
        timeToFirstTokenMs: (this.#firstTokenAt ?? now) - this.#startedAt,
      },
    });
    this.events.end();
  }

  #addPromptToken(logprob: number | null): void {
    const id = this.#accepted.promptIds[this.prompt.length]!;
    this.prompt.push({ id, text: this.#tokenizer.decode([id], { skipSpecialTokens: false }), logprob });
  }
}

/** A validated generation request, and what comes back for it. Shared by the HTTP layer, the command line and the scheduler. */

import type { AdapterChoice } from '../base/adapter-reference.ts';
import type { SamplingParams } from '../engine/sampling/params.ts';
import type { SpeculationParams } from './speculation.ts';
import type { ChatInput } from '../text/tokenizer.ts';

/** A chat becomes text by the template of the adapter that answers, which is not known before the adapter is. */
export type RequestPrompt =
  | { readonly text: string }
  | { readonly tokens: readonly number[] }
  | { readonly chat: ChatInput };

export interface GenerationRequest {
  readonly prompt: RequestPrompt;
  /** Whether the tokenizer adds its BOS and the like; chat prompts bring their own. */
  readonly addSpecialTokens: boolean;
  /** Undefined is the bare base model. */
  readonly adapter: AdapterChoice | undefined;
  readonly sampling: SamplingParams;
  /** Undefined fills the context. 0 is allowed for callers that only want the prompt's log-probabilities. */
  readonly maxNewTokens: number | undefined;
  readonly stop: readonly string[];
  readonly ignoreEos: boolean;
  /** Keep only the last so many prompt tokens. */
  readonly truncate: number | undefined;
  /** Log-probabilities of the prompt's tokens are wanted. */
  readonly promptLogprobs: boolean;
  /** How tokens may be guessed ahead; undefined leaves it to the server. It changes no answer. */
  readonly speculation?: SpeculationParams | undefined;
  /** Alternatives wanted per generated token; 0 is none. */
  readonly alternatives: number;
}

export interface TokenAlternative {
  readonly id: number;
  readonly text: string;
  readonly logprob: number;
}

export interface GeneratedToken {
  readonly id: number;
  /** The text that became printable with this token; may be empty inside a multi-byte character. */
  readonly text: string;
  readonly logprob: number;
  /** A special token (EOS and the like) has text but is not part of the generated text. */
  readonly special: boolean;
  /** Accepted from a draft instead of costing a step of its own. */
  readonly skipped: boolean;
  readonly alternatives?: readonly TokenAlternative[];
}

export interface PromptToken {
  readonly id: number;
  readonly text: string;
  /** Null for the first token, which nothing predicts. */
  readonly logprob: number | null;
}

export type FinishReason = 'length' | 'eos_token' | 'stop_sequence';

export interface GenerationResult {
  readonly finishReason: FinishReason;
  /** Without special tokens, with the stop string. */
  readonly text: string;
  readonly generatedTokens: number;
  readonly skippedTokens: number;
  /** Only where tokens were sampled. */
  readonly seed: bigint | undefined;
}

/** All in milliseconds. */
export interface GenerationTimes {
  readonly validationMs: number;
  readonly queueMs: number;
  readonly inferenceMs: number;
  readonly timeToFirstTokenMs: number;
}

export type GenerationEvent =
  | { readonly kind: 'token'; readonly token: GeneratedToken }
  | { readonly kind: 'end'; readonly result: GenerationResult; readonly times: GenerationTimes };

/** A request in hand: validated, its adapter found and its prompt tokenised; tokens arrive as they are made. */
export interface Generation {
  readonly promptTokens: number;
  /** The prompt as text, rendered and after truncation; what `return_full_text` and `echo` put in front. */
  readonly promptText: string;
  /** Content identity of the adapter that answers; undefined for the base. */
  readonly adapterGeneration: string | undefined;
  /** Filled before the first event when `promptLogprobs` was asked for; empty otherwise. */
  readonly prompt: readonly PromptToken[];
  readonly events: AsyncIterable<GenerationEvent>;
}

/** Takes requests to the model. Rejects with a `LoraxError` before anything was generated; an aborted signal frees the rows. */
export interface Generator {
  generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation>;
}

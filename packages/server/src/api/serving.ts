/** What the HTTP layer needs from the rest of the server. It knows no engine, queue or file: only these interfaces. */

import type { AdapterReference, AdapterSource } from '../base/adapter-reference.ts';
import type { Generator } from '../scheduler/request.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

export interface ServingLimits {
  /** Most sequences per prompt: `best_of` and OpenAI's `n`. */
  readonly maxBestOf: number;
  /** Most sequences per request: prompts times sequences per prompt. More than the server may hold could never be answered. */
  readonly maxSequences: number;
  readonly maxStopSequences: number;
  /** Tokens. */
  readonly maxInputLength: number;
  /** Tokens of prompt and answer together. */
  readonly maxTotalTokens: number;
  /** Alternatives per token: `return_k_alternatives`, `logprobs`, `top_logprobs`. */
  readonly maxAlternatives: number;
  readonly maxBodyBytes: number;
}

export interface ServedModel {
  readonly id: string;
  readonly revision?: string;
  readonly dtype: string;
  /** `cpu`, `cuda`, ...; becomes `x-compute-type: <device>+optimized`. */
  readonly device: string;
  /** `model_type` of its config. */
  readonly type: string;
  /** Unix seconds, as OpenAI's `created`. */
  readonly createdAt: number;
}

export interface ServedAdapter {
  readonly id: string;
  readonly source: AdapterSource;
  /** Content identity, where the adapter has been loaded. */
  readonly generation?: string;
  /** Unix seconds; the model's own where unknown. */
  readonly createdAt?: number;
}

export interface Serving {
  readonly generator: Generator;
  readonly tokenizer: Tokenizer;
  readonly limits: ServingLimits;
  readonly model: ServedModel;
  readonly defaultAdapterSource: AdapterSource;
  /** For requests that name no adapter; undefined is the base. */
  readonly defaultAdapter: AdapterReference | undefined;
  /** The body of `/info`. */
  info(): Readonly<Record<string, unknown>>;
  listAdapters(): readonly ServedAdapter[];
  /** Rejects with `UNHEALTHY` where the model cannot answer. */
  checkHealth(): Promise<void>;
}

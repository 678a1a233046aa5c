/** What the HTTP layer needs from the rest of the server. It knows no engine, queue or file: only these interfaces. */

import type { AdapterStatus } from '../adapters/store/adapter-status.ts';
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

export interface AdapterLoad {
  readonly reference: AdapterReference;
  /** Stands for the adapter from then on; VALIDATION where it stands for another and `moveName` is absent. */
  readonly name?: string;
  /** Takes the name from the adapter that has it, once this one is resident. */
  readonly moveName?: true;
  /** Keeps it resident whatever else is used. */
  readonly pin: boolean;
}

/** What unloading gave back, in bytes. */
export interface FreedBytes {
  readonly disk: number;
  readonly host: number;
  readonly device: number;
}

/** The adapters as those see them who run the server. */
export interface AdapterAdmin {
  /** Every adapter that the server knows of now. */
  statuses(): readonly AdapterStatus[];
  /** With a source `idOrName` is an id in it; without, a name or else an id in any source. */
  find(idOrName: string, source?: AdapterSource): AdapterStatus | undefined;
  /** Settles when the adapter is resident. The signal ends the wait, not the load. Rejects with the codes of a request. */
  load(load: AdapterLoad, signal: AbortSignal): Promise<AdapterStatus>;
  /**
   * Finds as `find` does, lets the requests that run end, frees the adapter and forgets its names. By a name while other
   * names stand for the adapter, only that name goes. ADAPTER_NOT_FOUND where there is none.
   */
  unload(
    idOrName: string,
    source: AdapterSource | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly freed: FreedBytes }>;
  /** Id and source as the adapter's status has them, without a token: each request brings its own. */
  resolveName(name: string): AdapterReference | undefined;
}

export interface Serving {
  readonly generator: Generator;
  readonly adapters: AdapterAdmin;
  readonly tokenizer: Tokenizer;
  readonly limits: ServingLimits;
  readonly model: ServedModel;
  readonly defaultAdapterSource: AdapterSource;
  /** False where an adapter was merged into the base: what the bare one would answer nobody can tell then. */
  readonly hasBareBase: boolean;
  /** For requests that name no adapter; undefined is the base. */
  readonly defaultAdapter: AdapterReference | undefined;
  /** The body of `/info`. */
  info(): Readonly<Record<string, unknown>>;
  listAdapters(): readonly ServedAdapter[];
  /** Rejects with `UNHEALTHY` where the model cannot answer. */
  checkHealth(): Promise<void>;
}

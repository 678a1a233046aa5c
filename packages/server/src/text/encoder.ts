/** The way from texts to ids, on the spot or in worker processes. Knows no chat and no decoding. */
import type { CodecSource } from './codec-source.ts';
import type { TextCodec } from './text-codec.ts';
import { JobError } from './text-worker.ts';
import type { TokenSpan } from './tokenizer.ts';
import type { JobOwner, WorkerPool } from './worker-pool.ts';

/** About 4 ms of work: longer texts would hold up the step loop. */
const MAX_INLINE_LEN = 4000;

export interface Encoder {
  encode(owner: JobOwner, text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<number[]>;
  spans(owner: JobOwner, text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<TokenSpan[]>;
}

/** All texts in workers. `asError` says what a failed job means to the caller. */
export class WorkerEncoder implements Encoder {
  readonly #pool: WorkerPool;
  readonly #codec: CodecSource;
  readonly #asError: (error: JobError) => Error;

  constructor(pool: WorkerPool, codec: CodecSource, asError: (error: JobError) => Error) {
    this.#pool = pool;
    this.#codec = codec;
    this.#asError = asError;
  }

  async encode(owner: JobOwner, text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<number[]> {
    const codec = { key: this.#codec.key, source: this.#codec };
    const ids = this.#pool.run(owner, 'encode', { codec, text, addSpecialTokens }, signal);
    return Array.from(await ids.catch((error: unknown) => this.#fail(error)));
  }

  spans(owner: JobOwner, text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<TokenSpan[]> {
    const codec = { key: this.#codec.key, source: this.#codec };
    const spans = this.#pool.run(owner, 'spans', { codec, text, addSpecialTokens }, signal);
    return spans.catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): never {
    throw error instanceof JobError ? this.#asError(error) : error;
  }
}

/** Short texts on the spot: a trip to a worker costs more than they do. For tokenizers that can be trusted. */
export class MixedEncoder implements Encoder {
  readonly #codec: TextCodec;
  readonly #remote: Encoder;

  constructor(codec: TextCodec, remote: Encoder) {
    this.#codec = codec;
    this.#remote = remote;
  }

  async encode(owner: JobOwner, text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<number[]> {
    signal?.throwIfAborted();
    if (text.length > MAX_INLINE_LEN) return this.#remote.encode(owner, text, addSpecialTokens, signal);
    return this.#codec.encode(text, addSpecialTokens);
  }

  async spans(owner: JobOwner, text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<TokenSpan[]> {
    signal?.throwIfAborted();
    if (text.length > MAX_INLINE_LEN) return this.#remote.spans(owner, text, addSpecialTokens, signal);
    return this.#codec.spans(text, addSpecialTokens);
  }
}

/**
 * A tokenizer as the server uses it, put together from what it shares with others (codec, encoder, pool of renderers) and
 * what is its own (templates, names of tokens, end of sequence). Knows nothing about how texts are encoded.
 */
import { LoraxError } from '../base/errors.ts';
import { type ChatTemplates, renderJobOf } from './chat-template.ts';
import type { Encoder } from './encoder.ts';
import { JobError } from './text-worker.ts';
import type { TokenDecoder } from './token-decoder.ts';
import type { ChatInput, DecodeOptions, Tokenizer, TokenSpan } from './tokenizer.ts';
import type { JobOwner, WorkerPool } from './worker-pool.ts';

export interface TokenizerParts {
  readonly decoder: TokenDecoder;
  readonly encoder: Encoder;
  readonly eosTokenIds: readonly number[];
  readonly templates: ChatTemplates;
  /** A pool of its own, so that a template that runs into its deadline holds up nothing but templates. */
  readonly renderers: WorkerPool;
  /** Jobs that it may have running in one pool, for the sake of the others. */
  readonly maxRunning: number;
  readonly dispose: () => Promise<void>;
}

export class ComposedTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
  readonly hasChatTemplate: boolean;
  readonly #parts: TokenizerParts;
  readonly #owner: JobOwner;

  constructor(parts: TokenizerParts) {
    this.#parts = parts;
    this.#owner = { maxRunning: parts.maxRunning };
    this.vocabSize = parts.decoder.vocabSize;
    this.eosTokenIds = parts.eosTokenIds;
    this.hasChatTemplate = parts.templates.byName['default'] !== undefined;
  }

  encode(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<number[]> {
    return this.#parts.encoder.encode(this.#owner, text, addSpecialTokens, signal);
  }

  spans(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<TokenSpan[]> {
    return this.#parts.encoder.spans(this.#owner, text, addSpecialTokens, signal);
  }

  decode(ids: readonly number[], options: DecodeOptions): string {
    return this.#parts.decoder.decode(ids, options);
  }

  isSpecial(id: number): boolean {
    return this.#parts.decoder.isSpecial(id);
  }

  async renderChat(chat: ChatInput, signal?: AbortSignal): Promise<string> {
    const job = renderJobOf(this.#parts.templates, chat);
    if (job === undefined) throw new LoraxError('TEMPLATE', { reason: 'the model has no chat template' });
    return this.#parts.renderers.run(this.#owner, 'render', job, signal).catch(asTemplateError);
  }

  dispose(): Promise<void> {
    return this.#parts.dispose();
  }
}

function asTemplateError(error: unknown): never {
  if (error instanceof JobError) throw new LoraxError('TEMPLATE', { reason: error.message }, { cause: error });
  throw error;
}

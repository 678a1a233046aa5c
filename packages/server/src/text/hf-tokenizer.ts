/**
 * The server's tokenizer: short texts on the spot, long ones and chat templates in worker threads. Knows nothing about
 * how texts are encoded.
 */
import { LoraxError } from '../base/errors.ts';
import { type ChatTemplates, renderJobOf } from './chat-template.ts';
import { namedTokens } from './special-tokens.ts';
import { openCodec, type TextCodec } from './text-codec.ts';
import { JobError } from './text-worker.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';
import type { ChatInput, DecodeOptions, Tokenizer, TokenSpan } from './tokenizer.ts';
import { WorkerPool } from './worker-pool.ts';

/** About 4 ms of work: longer texts would hold up the step loop. */
const MAX_INLINE_LEN = 4000;
const ENCODE_DEADLINE_MS = 60_000;
const ENCODE_HEAP_MB = 2048;
const RENDER_HEAP_MB = 128;

export interface TokenizerOptions {
  /** A tokenizer_config.json whose entries replace the folder's, or a file with nothing but a chat template. */
  readonly chatTemplatePath?: string;
  /** Time for one rendering; 2 seconds unless told. */
  readonly templateDeadlineMs?: number;
  /** Threads for long texts, and as many for templates; 2 unless told. */
  readonly workers?: number;
}

/** Opens the tokenizer of a model folder. Throws `MODEL_INVALID`, naming the file. */
export async function openTokenizer(folder: string, options: TokenizerOptions = {}): Promise<Tokenizer> {
  const files = await readTokenizerFiles(folder, options.chatTemplatePath);
  const codec = openCodec(files);
  const shared = {
    workerData: { folder, overridePath: options.chatTemplatePath },
    size: options.workers ?? 2,
  };
  const eosTokenId = codec.idOf(files.config.eos_token ?? '');
  return new HfTokenizer({
    codec,
    eosTokenIds: eosTokenId === undefined ? [] : [eosTokenId],
    templates: { byName: files.chatTemplates, tokens: namedTokens(files.config) },
    encoders: new WorkerPool({ ...shared, deadlineMs: ENCODE_DEADLINE_MS, maxHeapMb: ENCODE_HEAP_MB }),
    renderers: new WorkerPool({
      ...shared,
      deadlineMs: options.templateDeadlineMs ?? 2000,
      maxHeapMb: RENDER_HEAP_MB,
    }),
  });
}

interface Parts {
  readonly codec: TextCodec;
  readonly eosTokenIds: readonly number[];
  readonly templates: ChatTemplates;
  readonly encoders: WorkerPool;
  /** A pool of its own, so that a template that runs into its deadline holds up nothing but templates. */
  readonly renderers: WorkerPool;
}

class HfTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
  readonly hasChatTemplate: boolean;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.vocabSize = parts.codec.vocabSize;
    this.eosTokenIds = parts.eosTokenIds;
    this.hasChatTemplate = parts.templates.byName['default'] !== undefined;
  }

  async encode(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<number[]> {
    signal?.throwIfAborted();
    if (text.length <= MAX_INLINE_LEN) return this.#parts.codec.encode(text, addSpecialTokens);
    return this.#parts.encoders.run('encode', { text, addSpecialTokens }, signal).catch(asInternal);
  }

  async spans(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<TokenSpan[]> {
    signal?.throwIfAborted();
    if (text.length <= MAX_INLINE_LEN) return this.#parts.codec.spans(text, addSpecialTokens);
    return this.#parts.encoders.run('spans', { text, addSpecialTokens }, signal).catch(asInternal);
  }

  decode(ids: readonly number[], options: DecodeOptions): string {
    return this.#parts.codec.decode(ids, options);
  }

  isSpecial(id: number): boolean {
    return this.#parts.codec.isSpecial(id);
  }

  async renderChat(chat: ChatInput, signal?: AbortSignal): Promise<string> {
    const job = renderJobOf(this.#parts.templates, chat);
    if (job === undefined) throw new LoraxError('TEMPLATE', { reason: 'the model has no chat template' });
    return this.#parts.renderers.run('render', job, signal).catch(asTemplateError);
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#parts.encoders.dispose(), this.#parts.renderers.dispose()]);
  }
}

function asTemplateError(error: unknown): never {
  if (error instanceof JobError) throw new LoraxError('TEMPLATE', { reason: error.message }, { cause: error });
  throw error;
}

function asInternal(error: unknown): never {
  if (error instanceof JobError) throw new LoraxError('INTERNAL', {}, { cause: error });
  throw error;
}
